"""What only a meta-GAN can do: interpolate between photos, adapt to one it never saw."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.adapt import write_adaptation
from hyperconv.apps.interpolate import write_interpolation
from hyperconv.apps.model import Model
from hyperconv.cli.options import Count, Device, Force, Out, Run, Seed, beside
from hyperconv.cli.progress import counted
from hyperconv.errors import InputError


def interpolate(
    run: Run,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C D]",
            help="Two photos to walk between, or the four corners of a grid (two above, two below): photos of the run "
            "by name, or the paths of any photos.",
            show_default=False,
        ),
    ],
    steps: Annotated[int, typer.Option(min=2, metavar="NUMBER", help="Frames, both ends counted; of a grid, along each side.")] = 8,
    space: Annotated[
        Literal["embedding", "weights"],
        typer.Option(
            help="What is blended: the photos' embeddings (the hypernetwork makes a model for every point "
            "between) or the generated weights. They differ where contexts are kept at unit norm, as in "
            "the tiny and small presets."
        ),
    ] = "embedding",
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="K-L",
            show_default=False,
            help="Only these scales walk, 0 the coarsest, the others stay A's (default: all). 2- gives A's layout B's "
            "texture, 0-1 gives B's layout A's texture.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            show_default=False,
            help="Hold this random noise (default: the noise that reconstructs the photos).",
        ),
    ] = None,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Walk from the model of one photo to the model of another, the noise held still.

    Writes every frame as a PNG, all of them as A-B.png, and as
    A-B_smoothness.png how much the patches change from frame to frame (patch
    SWD; an even curve is an even walk). Where the photos differ in shape, the
    frames change shape as they go.

    \b
    Examples:
      hyperconv interpolate run lake mountain
      hyperconv interpolate run lake holiday.jpg --steps 12
      hyperconv interpolate run lake mountain --scales 2-   texture alone
      hyperconv interpolate run lake mountain city sea      between four
      hyperconv interpolate run lake mountain --space weights --out walk
    """
    out = out or beside(run, "interpolations")
    model = Model.open(run, device)
    written = write_interpolation(
        model, photos, out, steps, space=space, scales=_parse_scales(scales, model.scales), seed=seed, force=force
    )
    distances = [distance for row in written.distances for distance in row]
    print(
        f"{sum(map(len, written.distances)) + len(written.distances)} frames in {out}\n"
        f"neighbours differ by a patch SWD of {sum(distances) / len(distances):.4f} on average, {max(distances):.4f} at most\n"
        f"picture: {written.picture}"
    )


def _parse_scales(text: str | None, count: int) -> range | None:
    """'2-3' -> range(2, 4); '2-' and '-2' go to the ends of `count` scales."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    ends = first or "0", (last or str(count - 1)) if dash else first
    if not all(end.isascii() and end.isdecimal() for end in ends):
        raise InputError(f"--scales {text!r} are no scales; write 2-3, 2- for all from 2 on, -1 for all up to 1, or 2")
    return range(int(ends[0]), int(ends[1]) + 1)


def adapt(
    run: Run,
    photo: Annotated[
        Path,
        typer.Argument(metavar="PHOTO", help="An image file the run has never seen.", show_default=False),
    ],
    tune_steps: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="STEPS",
            help="Training steps on this photo alone, started from what the hypernetwork gives; 0 is one forward pass.",
        ),
    ] = 0,
    tune_what: Annotated[
        Literal["weights", "embedding"],
        typer.Option(
            "--tune",
            help="What those steps train. weights: the photo's own weights, STEPS per scale. embedding: what the "
            "hypernetwork makes them from, STEPS of all scales together; it learns less, and forgets less.",
        ),
    ] = "weights",
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False,
            help="Also write the model of this photo alone: a small file, name it .safetensors, that every verb takes "
            "in place of a run.",
        ),
    ] = None,
    count: Count = 6,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Model a photo the run never saw, in one forward pass.

    Writes reconstruction.png, the samples, and sheet.png with all of them
    beside the photo.

    \b
    Examples:
      hyperconv adapt run holiday.jpg
      hyperconv adapt run holiday.jpg --tune-steps 200    closer to the photo, takes a while
      hyperconv adapt run holiday.jpg --tune embedding --tune-steps 100
      hyperconv adapt run holiday.jpg --export holiday.safetensors
      hyperconv sample holiday.safetensors --count 20
    """
    model, out = Model.open(run, device), out or beside(run, "adapted") / photo.stem
    with counted("tuning") as on_step:
        sheet = write_adaptation(
            model,
            photo,
            out,
            count,
            tune_steps=tune_steps,
            tuning=tune_what,
            export=export,
            seed=seed,
            force=force,
            on_step=on_step if tune_steps else None,
        )
    print(f"reconstruction and {count} samples in {out}\nsheet: {sheet}")
    if export is not None:
        print(f"model: {export}\nnext: hyperconv sample {export}")

"""What meta-learning gives: interpolate between photos, adapt to a photo or a domain never seen."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.adapt import write_adaptation
from hyperconv.apps.imitate import DomainModel, write_imitation
from hyperconv.apps.interpolate import write_interpolation
from hyperconv.apps.model import Model
from hyperconv.cli.instances import interpolate_dip
from hyperconv.cli.options import Device, Force, Out, Run, Seed, beside, leave_out, system_of
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
    steps: Annotated[
        int, typer.Option(min=2, metavar="NUMBER", help="Frames, both ends counted; of a grid, along each side.")
    ] = 8,
    space: Annotated[
        Literal["embedding", "weights"] | None,
        typer.Option(
            show_default=False,
            help="What is blended: the photos' embeddings (the hypernetwork makes a model for every point "
            "between) or the generated weights. They differ where contexts are kept at unit norm, as in "
            "the tiny and small presets (default: embedding).",
        ),
    ] = None,
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
      hyperconv interpolate dip_run cats:3 cats:8           features of two images
    """
    if system_of(run) == "dip":
        leave_out("--system dip", space=space, scales=scales)
        interpolate_dip(run, photos, steps, seed, device, out, force)
        return
    out = out or beside(run, "interpolations")
    model = Model.open(run, device)
    written = write_interpolation(
        model,
        photos,
        out,
        steps,
        space=space or "embedding",
        scales=_parse_scales(scales, model.scales),
        seed=seed,
        force=force,
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
        Path | None,
        typer.Argument(metavar="[PHOTO]", help="An image file the run has never seen.", show_default=False),
    ] = None,
    shots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            help="With a run of --system reptile, in place of PHOTO: images of a domain it has never seen.",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            min=1,
            metavar="NUMBER",
            show_default=False,
            help="How many of the SHOTS it may see: the first ones, by name (default: 16).",
        ),
    ] = None,
    tune_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="STEPS",
            show_default=False,
            help="Training steps on this photo alone, started from what the hypernetwork gives (default: 0, one forward "
            "pass), or on the SHOTS (default: as in training).",
        ),
    ] = None,
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
            metavar="FILE",
            show_default=False,
            help="Also write the model of this photo alone: a small file, name it .safetensors, that sample, retarget, "
            "superres, animate, harmonize, edit, paint, style, reconstruct and evaluate take in place of a run.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            metavar="NUMBER",
            show_default=False,
            help="How many samples (default: 6 of a photo, 16 of a domain).",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Model a photo the run never saw, in one forward pass, or imitate a domain from a few images.

    Writes reconstruction.png (of a photo), the samples, and sheet.png with
    all of them beside the photo or the shots. The run itself stays as it is.

    \b
    Examples:
      hyperconv adapt run holiday.jpg
      hyperconv adapt run holiday.jpg --tune-steps 200    closer to the photo, takes a while
      hyperconv adapt run holiday.jpg --tune embedding --tune-steps 100
      hyperconv adapt run holiday.jpg --export holiday.safetensors
      hyperconv sample holiday.safetensors --count 20
      hyperconv adapt digits --shots digits/held_out/8 -k 16
    """
    if (photo is None) == (shots is None):
        raise InputError("name either a PHOTO or, for a run of --system reptile, --shots FOLDER")
    if shots is not None:
        if export is not None or tune_what != "weights":
            raise InputError("--export and --tune are for a PHOTO: leave them out with --shots")
        model, out = DomainModel.open(run, device), out or run / "adapted" / shots.resolve().name
        k, count = k or 16, count or 16
        sheet = write_imitation(model, shots, k, out, count, steps=tune_steps, seed=seed, force=force)
        print(f"{count} samples in {out}, from {k} images\nsheet: {sheet}")
        return
    if k is not None:
        raise InputError(f"-k {k} is for --shots: leave it out with a PHOTO")
    tune_steps, count = tune_steps or 0, count or 6
    if tune_what == "embedding" and tune_steps == 0:
        raise InputError("--tune embedding says what is tuned, and no steps are: add --tune-steps, for example 100")
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
        print(f"model: {export}\nnext: hyperconv sample {shlex.quote(str(export))}")

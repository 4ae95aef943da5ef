"""What meta-learning gives: interpolate between photos, adapt to a photo or a domain never seen."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.adapt import write_adaptation
from hyperconv.apps.imitate import DomainModel, write_imitation
from hyperconv.apps.interpolate import write_interpolation
from hyperconv.apps.model import Model
from hyperconv.cli.options import Device, Force, Out, Run, Seed
from hyperconv.cli.progress import counted
from hyperconv.errors import InputError


def interpolate(
    run: Run,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A photo of the run by name, or the path of any photo.", show_default=False
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The photo to arrive at; as A.", show_default=False)],
    steps: Annotated[int, typer.Option(min=2, metavar="NUMBER", help="Frames, both ends counted.")] = 8,
    space: Annotated[
        Literal["embedding", "weights"],
        typer.Option(
            help="What is blended: the photos' embeddings (the hypernetwork makes a model for every point "
            "between) or the generated weights. They differ where contexts are kept at unit norm, as in "
            "the tiny and small presets."
        ),
    ] = "embedding",
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

    Writes every frame as a PNG, and all of them in a row as A-B.png. Where
    the two photos differ in shape, the frames change shape as they go.

    \b
    Examples:
      hyperconv interpolate run lake mountain
      hyperconv interpolate run lake holiday.jpg --steps 12
      hyperconv interpolate run lake mountain --space weights --out walk
    """
    out = out or run / "interpolations"
    model = Model.open(run, device)
    strip = write_interpolation(model, a, b, out, steps, space=space, seed=seed, force=force)
    print(f"{steps} frames in {out}\nstrip: {strip}")


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
        int, typer.Option("-k", min=1, metavar="NUMBER", help="How many of the SHOTS it may see: the first ones, by name.")
    ] = 16,
    tune_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="STEPS",
            show_default=False,
            help="Training steps: per scale on this photo's own weights, started from what "
            "the hypernetwork gives (default: 0, one forward pass), or on the SHOTS (default: as in training).",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", "-n", min=1, metavar="NUMBER", show_default=False,
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
      hyperconv adapt digits --shots digits/held_out/8 -k 16
    """
    if (photo is None) == (shots is None):
        raise InputError("name either a PHOTO or, for a run of --system reptile, --shots FOLDER")
    if shots is not None:
        model, out, count = DomainModel.open(run, device), out or run / "adapted" / shots.resolve().name, count or 16
        sheet = write_imitation(model, shots, k, out, count, steps=tune_steps, seed=seed, force=force)
        print(f"{count} samples in {out}, from {k} images\nsheet: {sheet}")
        return
    tune_steps, count = tune_steps or 0, count or 6
    model, out = Model.open(run, device), out or run / "adapted" / photo.stem
    with counted("tuning") as on_step:
        sheet = write_adaptation(
            model,
            photo,
            out,
            count,
            tune_steps=tune_steps,
            seed=seed,
            force=force,
            on_step=on_step if tune_steps else None,
        )
    print(f"reconstruction and {count} samples in {out}\nsheet: {sheet}")

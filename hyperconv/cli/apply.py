"""The verbs that use a trained run: sample, interpolate, adapt."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.adapt import write_adaptation
from hyperconv.apps.interpolate import write_interpolation
from hyperconv.apps.model import Model
from hyperconv.apps.sample import write_samples
from hyperconv.cli.progress import counted
from hyperconv.errors import InputError

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder that `hyperconv train` wrote.", show_default=False)
]
Seed = Annotated[int, typer.Option(help="Same seed, same images.", metavar="NUMBER")]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, … or auto: a GPU where there is one.", metavar="DEVICE")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        show_default=False,
        help="Where the PNGs go (default: a folder inside RUN).",
    ),
]
Count = Annotated[
    int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="How many samples of each photo.")
]


def sample(
    run: Run,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            "-i",
            metavar="NAME",
            show_default=False,
            help="A photo of the run, by its name or the beginning of it; may be repeated (default: all).",
        ),
    ] = None,
    count: Count = 6,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            show_default=False,
            help="Height x width of the samples in pixels (default: the photo's).",
        ),
    ] = None,
    start_scale: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="K",
            help="Keep the photo itself below scale K, draw only the finer scales: "
            "0 invents the layout too, 1 and up vary ever smaller things.",
        ),
    ] = 0,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Draw new images of photos in a run.

    Writes every sample as a PNG, and sheet.png: photo, reconstruction and
    samples side by side.

    \b
    Examples:
      hyperconv sample run                                six samples of every photo
      hyperconv sample run --image lake --count 20        twenty of one
      hyperconv sample run -i lake --size 128x512         a panorama
      hyperconv sample run -i lake --start-scale 2        the same layout, other details
    """
    wanted_size, model, out = _parse_size(size), Model.open(run, device), out or run / "samples"
    names = image or model.names
    sheet = write_samples(model, names, out, count, seed=seed, size=wanted_size, start_scale=start_scale)
    print(f"{count * len(names)} samples in {out}\nsheet: {sheet}")


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
    strip = write_interpolation(Model.open(run, device), a, b, out, steps, space=space, seed=seed)
    print(f"{steps} frames in {out}\nstrip: {strip}")


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
            help="Training steps per scale on this photo's own weights, started from what "
            "the hypernetwork gives; 0 is one forward pass.",
        ),
    ] = 0,
    count: Count = 6,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Model a photo the run never saw, in one forward pass.

    Writes reconstruction.png, the samples, and sheet.png with all of them
    beside the photo.

    \b
    Examples:
      hyperconv adapt run holiday.jpg
      hyperconv adapt run holiday.jpg --tune-steps 200    closer to the photo, takes a while
    """
    model, out = Model.open(run, device), out or run / "adapted" / photo.stem
    with counted("tuning") as on_step:
        sheet = write_adaptation(
            model,
            photo,
            out,
            count,
            tune_steps=tune_steps,
            seed=seed,
            on_step=on_step if tune_steps else None,
        )
    print(f"reconstruction and {count} samples in {out}\nsheet: {sheet}")


def _parse_size(text: str | None) -> tuple[int, int] | None:
    """'128x512' -> (128, 512)."""
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isascii() and height.isdecimal() and width.isascii() and width.isdecimal()):
        raise InputError(
            f"--size {text!r} is not a size; write height x width in pixels, for example --size 128x192"
        )
    return int(height), int(width)

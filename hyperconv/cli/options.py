"""Options and arguments that several verbs share, how sizes are written, and which runs an option means nothing to."""

import enum
import re
from pathlib import Path
from typing import Annotated

import typer

from hyperconv.apps.model import Model
from hyperconv.errors import InputError
from hyperconv.gan.run import Run as RunFolder
from hyperconv.kernels.arithmetic import ARITHMETICS

Dtype = enum.Enum("Dtype", {name: name for name in ARITHMETICS}, type=str)

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="The folder that `hyperconv train` wrote, or a file of `hyperconv adapt --export`.",
        show_default=False,
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        "-i",
        metavar="NAME",
        show_default=False,
        help="A photo of the run, by its name or the beginning of it; may be repeated (default: all). Of a photo it "
        "never saw, `hyperconv adapt` makes a model.",
    ),
]
AnyImages = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        "-i",
        metavar="NAME",
        show_default=False,
        help="A photo of the run, by its name or the beginning of it; with a meta-GAN also the file of one it never "
        "saw; may be repeated (default: all of the run).",
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        "-i",
        metavar="NAME",
        show_default=False,
        help="The photo of the run whose model is used, by its name or the beginning of it; with a meta-GAN also the "
        "file of one it never saw (default: the only photo).",
    ),
]
Count = Annotated[int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="How many samples of each photo.")]
Seed = Annotated[int, typer.Option(help="Same seed, same images.", metavar="NUMBER")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, … or auto: a GPU where there is one.", metavar="DEVICE")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        show_default=False,
        help="Where the files go (default: a folder inside RUN, or one named as the file).",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there already.")]


def parse_layer(text: str) -> tuple[int, int]:
    """'3:64' -> (3, 64), channels in and out."""
    pair = re.fullmatch(r"\s*([1-9]\d{0,4}):([1-9]\d{0,4})\s*", text, re.ASCII)
    if pair is None:
        raise InputError(f"{text!r} is no layer; write channels in and out, for example 64:64")
    return int(pair[1]), int(pair[2])


def parse_size(text: str | None) -> tuple[int, int] | None:
    """'128x512' -> (128, 512)."""
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isascii() and height.isdecimal() and width.isascii() and width.isdecimal()):
        raise InputError(f"--size {text!r} is not a size; write height x width in pixels, for example --size 128x192")
    return int(height), int(width)


def system_of(run: Path) -> str:
    """The --system of a run, or of the file of an exported model."""
    return "adapted" if run.is_file() else RunFolder.open(run).config.system


def leave_out(systems: str, **options: object) -> None:
    """InputError for options that were given and mean nothing to a run of these systems."""
    given = [
        f"{'-' if len(name) == 1 else '--'}{name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None
    ]
    if given:
        raise InputError(f"a run of {systems} has no {', '.join(given)}: leave that out")


def beside(run: Path, name: str) -> Path:
    """The folder for the results of a verb: in the run, or in one named as the file of an exported model."""
    if run.is_file():
        run = run.with_suffix("") if run.suffix else run.with_name(f"{run.name}_results")
    return run / name


def the_photo(model: Model, name: str | None) -> str:
    """The photo named, or the only one of the run."""
    if name is not None:
        return name
    if len(model.names) > 1:
        raise InputError(
            f"this run has {len(model.names)} photos: choose one with --image, for example {model.names[0]}"
        )
    return model.names[0]

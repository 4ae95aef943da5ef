"""The verbs that take a picture from outside: harmonize, edit, paint, style."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hyperconv.apps.blend import write_edited, write_harmonized
from hyperconv.apps.inject import Written, drawn_files, read_pictures
from hyperconv.apps.model import Model
from hyperconv.apps.paint import write_painted, write_styled
from hyperconv.cli.options import Device, Force, Image, Out, Run, Seed, beside, the_photo
from hyperconv.cli.progress import counted
from hyperconv.data.images import Photo
from hyperconv.data.mask import read_mask
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing

Masks = Annotated[
    list[Path],
    typer.Option(
        "--mask",
        "-m",
        metavar="MASK",
        show_default=False,
        help="White where the picture differs from the photo, black elsewhere. One for all pictures, or one for each, "
        "in their order.",
    ),
]
StartScale = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="K",
        show_default=False,
        help="Scale where the picture enters: 1 (coarse) redraws most, the finest touches texture only. Runs of "
        "--system consingan take it at the coarsest (default: chosen by the verb).",
    ),
]
FineTune = Annotated[
    int,
    typer.Option(
        "--fine-tune",
        min=0,
        metavar="STEPS",
        help="Train the last scales on this picture first, at the rates of the run (--system consingan): 20 to 100 "
        "steps at 64 pixels, 500 with paper presets; far more, and what was pasted dissolves.",
    ),
]


def pictures(word: str):
    return Annotated[
        list[Path], typer.Argument(metavar=word, help="Image files, or folders of them.", show_default=False)
    ]


def harmonize(
    run: Run,
    composite: pictures("COMPOSITE"),
    mask: Masks,
    image: Image = None,
    start_scale: StartScale = None,
    fine_tune: FineTune = 0,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Make something pasted into a photo look as if it belonged there.

    COMPOSITE is the photo with something pasted in. Outside the mask, which
    is widened and softened, the result is the photo as trained. Best with a
    run of --system consingan --preset tiny-harmonize or paper-harmonize.

    \b
    Examples:
      hyperconv harmonize run pasted.png --mask mask.png
      hyperconv harmonize run pasted.png -m mask.png --fine-tune 500
      hyperconv harmonize run -i lake a.png b.png -m a_mask.png -m b_mask.png
    """
    out = out or beside(run, "harmonized")
    _blend(write_harmonized, run, composite, mask, image, out, device, fine_tune, start_scale, seed, force)


def edit(
    run: Run,
    edited: pictures("EDITED"),
    mask: Masks,
    image: Image = None,
    start_scale: StartScale = None,
    fine_tune: FineTune = 0,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Clean up after parts of a photo were moved or copied by hand.

    EDITED is the photo with parts copied, moved or removed, seams and all.
    Outside the mask, which is widened and softened, the result is the photo
    as trained. Best with a run of --system consingan --preset tiny-edit or
    paper-edit.

    \b
    Examples:
      hyperconv edit run moved.png --mask mask.png
      hyperconv edit run moved.png -m mask.png --fine-tune 100
      hyperconv edit run -i stone moved.png -m mask.png --start-scale 2
    """
    out = out or beside(run, "edited")
    _blend(write_edited, run, edited, mask, image, out, device, fine_tune, start_scale, seed, force)


def paint(
    run: Run,
    painting: pictures("PAINTING"),
    image: Image = None,
    quantise: Annotated[
        bool | None,
        typer.Option(
            "--quantise/--no-quantise",
            show_default=False,
            help="First paint it with five colours of the photo (default: with --retrain only).",
        ),
    ] = None,
    retrain: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="STEPS",
            help="First train the scale it enters at to make photos of images in five colours (--system singan, meta), "
            "and give it the painting in these: closer to the painting. SinGAN takes 2000, a tiny run 100.",
        ),
    ] = 0,
    start_scale: StartScale = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Turn a painting or clip art into a photo like one of the run.

    \b
    Examples:
      hyperconv paint run sketch.png
      hyperconv paint run -i trees sketches/ --start-scale 2 --quantise
      hyperconv paint run sketch.png --retrain 2000
    """
    with counted("training on five colours") as on_step:
        write = partial(
            write_painted,
            quantise=quantise,
            retrain_steps=retrain,
            start_scale=start_scale,
            seed=seed,
            on_step=on_step if retrain else None,
        )
        _each(write, run, painting, image, out or beside(run, "painted"), device, force)


def style(
    run: Run,
    structure: pictures("STRUCTURE"),
    image: Image = None,
    start_scale: StartScale = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Draw the structure of another photo in the style of one of the run.

    STRUCTURE gives the layout, the run's photo colours and texture. The
    result has the shape of STRUCTURE.

    \b
    Examples:
      hyperconv style run mountains.jpg
      hyperconv style run -i starry_night photos/ --start-scale 2
    """
    write = partial(write_styled, start_scale=start_scale, seed=seed)
    _each(write, run, structure, image, out or beside(run, "styled"), device, force)


def _blend(
    write: Callable[..., Written],
    run: Path,
    given: Sequence[Path],
    masks: list[Path],
    image: str | None,
    out: Path,
    device: str,
    steps: int,
    start_scale: int | None,
    seed: int,
    force: bool,
) -> None:
    pictures = read_pictures(given)
    if len(masks) not in (1, len(pictures)):
        raise InputError(f"{len(pictures)} pictures and {len(masks)} masks: give one --mask for all, or one for each")
    for mask in masks:
        read_mask(mask)
    holder, index = _holder(run, image, device, pictures, out, force)
    for picture, mask in zip(pictures, masks * len(pictures) if len(masks) == 1 else masks):
        with counted(f"fine-tuning on {picture.name}") as on_step:
            written = write(
                holder,
                index,
                picture,
                mask,
                out,
                start_scale=start_scale,
                seed=seed,
                fine_tune_steps=steps,
                on_step=on_step if steps else None,
                force=force,
            )
        _tell(written)


def _each(
    write: Callable[..., Written],
    run: Path,
    given: Sequence[Path],
    image: str | None,
    out: Path,
    device: str,
    force: bool,
) -> None:
    pictures = read_pictures(given)
    holder, index = _holder(run, image, device, pictures, out, force)
    for picture in pictures:
        _tell(write(holder, index, picture, out, force=force))


def _holder(
    run: Path, image: str | None, device: str, pictures: Sequence[Photo], out: Path, force: bool
) -> tuple[Model, int]:
    """The model that holds the photo named, and its place there; InputError, before any picture is drawn, for files
    that may not be written."""
    model = Model.open(run, device)
    holder, index = model.find(the_photo(model, image))
    refuse_existing((file for picture in pictures for file in drawn_files(holder.names[index], picture, out)), force)
    return holder, index


def _tell(written: Written) -> None:
    for remark in written.remarks:
        print(remark, file=sys.stderr)
    print(f"result: {written.image}\nsheet: {written.sheet}")

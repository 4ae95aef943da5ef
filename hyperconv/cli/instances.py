"""`hyperconv invert`, and what sample, interpolate and evaluate do with a run of --system dip."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.instance_scores import write_instance_scores
from hyperconv.apps.instances import (
    InstanceModel,
    file_name,
    sample_around,
    sample_instances,
    write_instance_samples,
    write_instance_walk,
    write_inversion,
)
from hyperconv.cli.distributions import distribution_table, print_table
from hyperconv.cli.options import Device, Force, Out, Run, Seed
from hyperconv.cli.progress import counted
from hyperconv.errors import InputError
from hyperconv.nn.instance_features import InstanceFeatures

Prior = Annotated[
    Literal["stored", "mixed", "kmeans", "gmm", "neighbours"] | None,
    typer.Option(
        show_default=False,
        help="With a run of --system dip: what is drawn around. stored (default): features of its images. mixed: mixes of "
        "two. kmeans: the image nearest to each of ten centres. gmm: a Gaussian mixture. neighbours: one of the five "
        "nearest to an image.",
    ),
]


def sample_dip(
    run: Path,
    image: list[str] | None,
    count: int,
    prior: str | None,
    seed: int,
    device: str,
    out: Path | None,
    force: bool,
) -> None:
    """`hyperconv sample`: `count` images, or as many around each of the images named."""
    if image and prior:
        raise InputError("choose between --image, whose features are the prior, and --prior")
    model, out = InstanceModel.open(run, device), out or run / "samples"
    if image:
        parts = [sample_around(model, name, count, seed=seed) for name in image]
        images = [drawn for part in parts for drawn in part]
    else:
        images = list(sample_instances(model, count, prior or "stored", seed=seed))
    sheet = write_instance_samples(out, images, [model.photo(name) for name in image or ()], force)
    print(f"{len(images)} samples in {out}\nsheet: {sheet}")


def evaluate_dip(
    run: Path,
    count: int | None,
    prior: str | None,
    features: Path | None,
    seed: int,
    device: str,
    out: Path | None,
    force: bool,
) -> None:
    """`hyperconv evaluate`: scores of distributions, and samples beside the images nearest to them."""
    model, out = InstanceModel.open(run, device), out or run / "evaluation"
    network = None if features is None else InstanceFeatures.from_file(features)
    scores = write_instance_scores(model, out, count, prior or "stored", seed=seed, features=network, force=force)
    rows = [(f"samples ({scores.prior})", scores.scores)]
    if scores.halves is not None:
        rows.append(("real, half beside half", scores.halves))
    print_table(distribution_table(rows))
    print(
        f"features: {scores.features}; {scores.samples} samples, {scores.real} images\n"
        f"scores: {out / 'evaluation.json'}\nsheet: {out / 'nearest.png'}"
    )


def interpolate_dip(
    run: Path, photos: list[str], steps: int, seed: int | None, device: str, out: Path | None, force: bool
) -> None:
    """`hyperconv interpolate`: from one image's features to another's."""
    if len(photos) != 2:
        raise InputError(f"{len(photos)} images are named: a run of --system dip walks between two")
    model, out = InstanceModel.open(run, device), out or run / "interpolations"
    picture = write_instance_walk(model, *photos, out, steps, seed=seed or 0, force=force)
    print(f"{steps} frames in {out}\npicture: {picture}")


def invert(
    run: Run,
    photo: Annotated[
        str,
        typer.Argument(
            metavar="PHOTO",
            show_default=False,
            help="An image file, of which the middle square is taken, or FOLDER:NUMBER of the run.",
        ),
    ],
    steps: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Steps of the search.")] = 300,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="How many variations, and how many edits.")
    ] = 6,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Find a photo among the images that a run of --system dip can draw.

    Optimises the prior and the noise for it. Writes reconstruction.png;
    variations, of the same prior and other noise; edits, of the same noise
    with the prior half way to that of images of the run; and sheet.png with
    all of them.

    \b
    Examples:
      hyperconv invert run portrait.jpg
      hyperconv invert run portrait.jpg --steps 1000 --count 12
      hyperconv invert run faces:7
    """
    model = InstanceModel.open(run, device)
    name = Path(photo).stem if Path(photo).is_file() else file_name(photo)
    out = out or run / "inverted" / name
    with counted("searching") as on_step:
        sheet, before, after = write_inversion(
            model, photo, out, count, steps=steps, seed=seed, force=force, on_step=on_step
        )
    print(
        f"RMSE {before:.4f} from the photo's own features, {after:.4f} after {steps} steps (of values from 0 to 1)\n"
        f"sheet: {sheet}"
    )

"""`hyperconv evaluate`: how good a run's samples are, in numbers and pictures."""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from hyperconv.apps.evaluate import Evaluation, Scores, with_scorable
from hyperconv.apps.model import Model
from hyperconv.apps.scorecard import TITLES, shown_scores, write_evaluation
from hyperconv.cli.distributions import evaluate_reptile, print_table
from hyperconv.cli.instances import Prior, evaluate_dip
from hyperconv.cli.options import Device, Images, Run, Seed, beside, leave_out, system_of
from hyperconv.cli.progress import counted
from hyperconv.data.images import read_photos
from hyperconv.metrics.inception import InceptionFront

HEADINGS = TITLES | {"reconstruction_rmse": "RMSE", "reconstruction_psnr": "PSNR"}
DECIMALS = {"coherence": 5, "diversity": 3, "sifid_192": 3, "sifid_64": 3, "reconstruction_psnr": 2}  # others 4


def evaluate(
    run: Run,
    image: Images = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            metavar="NUMBER",
            show_default=False,
            help="Samples of each photo (default: 10); diversity needs 2. Of a run of --system dip: in all (default: as many "
            "as it has images, but 256 to 2000).",
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            help="Score the models of these photos, which the run need not have seen, instead of its own.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Score images made elsewhere, too: another method's or run's samples. Of a photo called lake, those in "
            "DIR/lake, or else DIR/lake.png, DIR/lake_1.png, ...; the first NUMBER of them, at their own size.",
        ),
    ] = None,
    sifid: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Score SIFID, too, with these Inception weights: pytorch-fid's pt_inception-2015-12-05-*.pth, or "
            "torchvision's inception_v3_google-*.pth; scores of different files do not compare.",
        ),
    ] = None,
    sifid_block: Annotated[
        Literal["192", "64"],
        typer.Option(
            help="Channels of SIFID's features: 192, before the second max pooling as SinGAN's paper says, or 64, "
            "before the first as its public script takes them. The two do not compare."
        ),
    ] = "192",
    each_scale: Annotated[
        bool | None,
        typer.Option(
            "--each-scale/--no-each-scale",
            show_default=False,
            help="Also the diversity when only the scales from K on are drawn, for every K; takes as many "
            "samples again for each scale (default: yes).",
        ),
    ] = None,
    prior: Prior = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="With a run of --system dip or reptile: score with the features of this network: pytorch-fid's Inception, "
            "as FID does, or a ResNet or VGG16, torchvision's, MoCo's or SwAV's (default: of a small net trained on the run's "
            "images, which do not compare with those of another run).",
        ),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(
            "-k",
            min=1,
            metavar="NUMBER",
            show_default=False,
            help="With a run of --system reptile: from how many of its images each domain is imitated (default: 16).",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            show_default=False,
            help="Where the files go (default: RUN/evaluation; with --photos a folder of their name in it).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an earlier evaluation.")] = False,
) -> None:
    """Score a run: do its samples look like their photos, and do they differ.

    Patch SWD (do patches come as often as in the photo; lower is better),
    coherence (does every patch look like one of the photo's; lower),
    diversity (how far samples differ, in units of the photo's contrast), and
    RMSE and PSNR (in dB) of the reconstruction. Samples that hardly differ
    from the photo score well on the first two: read them with the third.

    Writes evaluation.json, evaluation.csv, charts.png, and best_and_worst.png
    with the photos of the lowest and highest patch SWD.

    Of a run of --system dip or reptile: Frechet distance (lower is better), precision
    and density (are samples like real images), recall and coverage (are all
    real images met); higher is better. Writes evaluation.json, and
    nearest.png, the samples beside the real images nearest to them. Of
    reptile every domain is imitated, also those in RUN/held_out, and compared
    with its other images: imitations.png.

    \b
    Examples:
      hyperconv evaluate run
      hyperconv evaluate run -i lake --count 50
      hyperconv evaluate run --against other_run/samples
      hyperconv evaluate run --photos unseen/
      hyperconv evaluate run --sifid pt_inception-2015-12-05-6726825d.pth
      hyperconv evaluate dip_run --prior gmm --features resnet50-11ad3fa6.pth
      hyperconv evaluate digits -k 16
    """
    system = system_of(run)
    of_photos = {"image": image, "photos": photos, "against": against, "sifid": sifid, "each_scale": each_scale}
    if system == "dip":
        leave_out("--system dip", **of_photos, k=shots)
        evaluate_dip(run, count, prior, features, seed, device, out, force)
        return
    if system == "reptile":
        leave_out("--system reptile", **of_photos, prior=prior)
        evaluate_reptile(run, shots or 16, count, features, seed, device, out or run / "evaluation", force)
        return
    leave_out("pyramids", prior=prior, features=features, k=shots)
    model, out = (
        Model.open(run, device),
        out or beside(run, "evaluation") / ("" if photos is None else photos.resolve().stem),
    )
    inception = None if sifid is None else InceptionFront(sifid, int(sifid_block)).to(model.device)
    if photos is not None:
        given, problems = read_photos(photos)
        model, small = with_scorable(model, given, inception)
        _warn(problems + small)
    with counted("evaluating") as on_photo:
        evaluation = write_evaluation(
            model,
            out,
            image,
            count or 10,
            seed=seed,
            each_scale=each_scale is not False,
            inception=inception,
            against=against,
            force=force,
            on_photo=on_photo,
        )
    _warn(evaluation.notes)
    print_table(score_table(evaluation))
    _print_spreads(evaluation)
    print(f"scores: {out / 'evaluation.json'}\ncharts: {out / 'charts.png'}\nsheet: {out / 'best_and_worst.png'}")


def _warn(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def score_table(evaluation: Evaluation) -> Table:
    """A line for each photo, one under it for the images made elsewhere, and the means and medians."""
    table, scores = Table(box=box.SIMPLE, header_style="bold", pad_edge=False), shown_scores(evaluation)
    table.add_column("photo")
    for name in scores:
        table.add_column(HEADINGS[name], justify="right", no_wrap=True)

    def add(label: str, row: Scores | None, style: str = "") -> None:
        if row:
            cells = ["" if name not in row else _cell(row[name], DECIMALS.get(name, 4)) for name in scores]
            table.add_row(Text(label, no_wrap=True, overflow="ellipsis"), *cells, style=style)

    for photo in evaluation.photos:
        add(photo.name, photo.samples)
        add("  against", photo.against, "dim")
    table.add_section()
    for label, of in (("mean", statistics.fmean), ("median", statistics.median)):
        add(label, evaluation.overall(of), "bold")
        add("  against", evaluation.overall_against(of), "dim")
    return table


def _print_spreads(evaluation: Evaluation) -> None:
    spreads = evaluation.diversity_from()
    if len(spreads) > 1:
        listed = ", ".join(f"{start}: {_cell(spread, 3)}" for start, spread in enumerate(spreads))
        print(f"mean diversity when only the scales from K on are drawn  {listed}")


def _cell(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"

"""An evaluation as files: every number as JSON and CSV, charts, and the photos that came out best and worst."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch

from hyperconv.apps.against import find_images, read_images
from hyperconv.apps.chart import Canvas, Series, curves, histogram, scatter
from hyperconv.apps.evaluate import Evaluation, PhotoScores, evaluate
from hyperconv.apps.model import Model
from hyperconv.apps.sample import reconstruct, sample
from hyperconv.apps.sheet import Row, contact_sheet, photo_rows
from hyperconv.files import refuse_existing, replacing
from hyperconv.metrics.inception import BLOCKS, InceptionFront
from hyperconv.progress import OnEach
from hyperconv.version import __version__

FILES = ("evaluation.json", "evaluation.csv", "charts.png", "best_and_worst.png")
TITLES = {
    "patch_swd": "patch SWD",
    "coherence": "coherence",
    "diversity": "diversity",
    "sifid_192": "SIFID (192-d)",
    "sifid_64": "SIFID (64-d)",
    "reconstruction_rmse": "reconstruction RMSE",
    "reconstruction_psnr": "reconstruction PSNR, dB",
}
"""The scores in the order they are shown in."""

OURS, THEIRS = (35, 105, 180), (228, 120, 30)
SHEET_PHOTOS, SHEET_SAMPLES = 8, 5


def write_evaluation(
    model: Model,
    folder: str | PathLike,
    names: Sequence[str] | None = None,
    count: int = 10,
    *,
    seed: int = 0,
    each_scale: bool = True,
    inception: InceptionFront | None = None,
    against: str | PathLike | None = None,
    force: bool = False,
    on_photo: OnEach = None,
) -> Evaluation:
    """`evaluate` into FOLDER/evaluation.json, evaluation.csv, charts.png and best_and_worst.png.

    InputError, before anything is scored, where one of these is there already and `force` is not given.
    """
    folder = Path(folder)
    refuse_existing((folder / name for name in FILES), force)
    evaluation = evaluate(
        model, names, count, seed=seed, each_scale=each_scale, inception=inception, against=against, on_photo=on_photo
    )
    settings = {
        "count": count,
        "seed": seed,
        "against": None if against is None else str(against),
        "sifid": inception
        and {"block": inception.block, "features": BLOCKS[inception.block], "weights_sha256": inception.sha256},
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(evaluation, settings, folder / "evaluation.json")
    _write_csv(evaluation, folder / "evaluation.csv")
    _write_charts(evaluation, against, folder / "charts.png")
    _write_sheet(evaluation, model, seed, against, folder / "best_and_worst.png")
    return evaluation


def _write_json(evaluation: Evaluation, settings: dict, path: Path) -> None:
    """JSON has no NaN and no infinity: null stands for no score, "inf" for the PSNR of an exact reconstruction."""
    content = {
        "hyperconv": __version__,
        "torch": torch.__version__,
        "settings": settings,
        "mean": evaluation.overall(),
        "median": evaluation.overall(statistics.median),
        "mean_diversity_from": evaluation.diversity_from(),
        "mean_against": evaluation.overall_against(),
        "median_against": evaluation.overall_against(statistics.median),
        "notes": evaluation.notes,
        "photos": [asdict(photo) for photo in evaluation.photos],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    """A row for the samples of each photo, and one for the images made elsewhere."""
    scores = shown_scores(evaluation)
    starts = range(1, max(len(photo.diversity_from) for photo in evaluation.photos))
    columns = ["photo", "images", *scores, *(f"diversity_from_{start}" for start in starts)]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for photo in evaluation.photos:
            spreads = {f"diversity_from_{start}": photo.diversity_from[start] for start in starts}
            for images, row in (("samples", photo.samples | spreads), ("against", photo.against)):
                if row is not None:
                    known = {name: value for name, value in row.items() if not math.isnan(value)}
                    writer.writerow({"photo": photo.name, "images": images} | known)


def shown_scores(evaluation: Evaluation) -> list[str]:
    """The names of the scores that the samples have, in the order of `TITLES`."""
    return [name for name in TITLES if name in evaluation.photos[0].samples]


def _write_charts(evaluation: Evaluation, against: str | PathLike | None, path: Path) -> None:
    """Above: patch SWD against diversity, one dot a photo, and diversity by scale. Below: a histogram of each score."""
    photos = evaluation.photos
    scores = [name for name in shown_scores(evaluation) if name != "reconstruction_rmse"]  # PSNR is its logarithm
    series = [Series("samples of this run", OURS, [photo.samples for photo in photos])]
    if against is not None:
        where = "/".join(Path(against).resolve().parts[-2:])
        series.append(Series(f"against {where}", THEIRS, [photo.against for photo in photos if photo.against]))
    canvas, width = Canvas(1000, 580), 1000 // len(scores)
    canvas.text((14, 12), f"{len(photos)} photo{'s' * (len(photos) > 1)}", size=15)
    canvas.legend((14, 40), series)

    def numbers(*names: str) -> list[Series]:
        """The photos' finite scores of one name, or of two as points."""
        rows = [[tuple(row.get(name, math.nan) for name in names) for row in one.values] for one in series]
        rows = [[row for row in some if all(map(math.isfinite, row))] for some in rows]
        return [
            Series(one.label, one.colour, some if len(names) > 1 else [value for (value,) in some])
            for one, some in zip(series, rows, strict=True)
        ]

    scatter(
        canvas,
        (0, 66, 600, 310),
        "diversity (up: more) over patch SWD (left: better), one dot a photo",
        "patch SWD",
        numbers("patch_swd", "diversity"),
        _labels(photos),
    )
    if len(photos[0].diversity_from) > 1:
        curves(
            canvas,
            (610, 66, 390, 310),
            "diversity when only the scales from K on are drawn",
            "K",
            OURS,
            [photo.diversity_from for photo in photos],
        )
    for place, name in enumerate(scores):
        histogram(canvas, (width * place, 390, width, 180), TITLES[name], numbers(name))
    with replacing(path) as temporary:
        canvas.picture().save(temporary, format="png")


def _labels(photos: Sequence[PhotoScores], most: int = 12) -> dict:
    """The points of the photos with the highest patch SWD, to be named."""
    points = {(photo.samples["patch_swd"], photo.samples["diversity"]): photo.name for photo in photos}
    finite = [point for point in points if all(map(math.isfinite, point))]
    return {point: points[point] for point in sorted(finite, reverse=True)[:most]}


def _write_sheet(evaluation: Evaluation, model: Model, seed: int, against: str | PathLike | None, path: Path) -> None:
    """The photos of the lowest and the highest patch SWD, in this order, with reconstruction and samples."""
    ranked = sorted(
        (photo for photo in evaluation.photos if not math.isnan(photo.samples["patch_swd"])),
        key=lambda photo: photo.samples["patch_swd"],
    )
    if len(ranked) > SHEET_PHOTOS:
        ranked = ranked[: SHEET_PHOTOS // 2] + ranked[-SHEET_PHOTOS // 2 :]
    files = {} if against is None else find_images(against, model.names)
    rows: list[Row] = []
    for photo in ranked:
        real, samples = model.photo(photo.name), sample(model, photo.name, SHEET_SAMPLES, seed=seed)
        caption = f"{photo.name}  {photo.samples['patch_swd']:.4f}"
        rows += photo_rows(caption, real, reconstruct(model.photo_model(photo.name)), samples)
        others, _ = read_images(files.get(photo.name, []), SHEET_SAMPLES, real.shape[0], 1)
        if others:
            rows.append((f"against  {photo.against['patch_swd']:.4f}", [None, None, *others]))
    contact_sheet(rows, ("photo, patch SWD", "reconstruction", "samples"), path)

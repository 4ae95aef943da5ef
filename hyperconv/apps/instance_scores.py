"""How near the images of a run of --system dip are to those it was trained on, as distributions of named features."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from hyperconv.apps.instances import InstanceModel, sample_instances
from hyperconv.apps.sheet import contact_sheet
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing, replacing
from hyperconv.gan.dip.features import make_extractor
from hyperconv.metrics.distribution import DistributionScores, distribution_scores
from hyperconv.nn.instance_features import InstanceFeatures

LEAST, FEWEST, MOST = 6, 256, 2000  # images to score; samples by default: as many as there are images, within these
PAIRS, PER_ROW = 16, 8  # on the sheet


@dataclass(frozen=True)
class InstanceScores:
    """Scores of samples beside the real images, in the features called `features`.

    halves: those of every other real image beside the rest, what a perfect generator would have of so few; None of
    fewer than twelve images.
    """

    features: str
    prior: str
    samples: int
    real: int
    scores: DistributionScores
    halves: DistributionScores | None


def evaluate_instances(
    model: InstanceModel,
    count: int | None = None,
    prior: str = "stored",
    *,
    seed: int = 0,
    features: InstanceFeatures | None = None,
) -> tuple[InstanceScores, Tensor]:
    """Scores, and the samples (count, C, S, S) they are of.

    count: as many as there are images, but 256 to 2,000, by default. features: a published network's
    (`InstanceFeatures.from_file`); by default the run's own, of a run without them a net trained on its images by contrast.
    InputError for fewer than six images.
    """
    pixels = model.instances.domains.pixels
    count = min(max(len(pixels), FEWEST), MOST) if count is None else count
    for what, number in (("images in the run", len(pixels)), ("samples", count)):
        if number < LEAST:
            raise InputError(f"{number} {what}: scores of distributions need {LEAST} or more")
    extractor = features or model.extractor or make_extractor(model.config, model.instances.domains)
    samples = sample_instances(model, count, prior, seed=seed)
    drawn, real = (extractor.to(model.device).of_all(images, raw=True) for images in (samples, pixels))
    halves = distribution_scores(real[::2], real[1::2]) if len(real) >= 2 * LEAST else None
    return InstanceScores(extractor.name, prior, count, len(real), distribution_scores(drawn, real), halves), samples


def write_instance_scores(
    model: InstanceModel,
    folder: str | PathLike,
    count: int | None = None,
    prior: str = "stored",
    *,
    seed: int = 0,
    features: InstanceFeatures | None = None,
    force: bool = False,
) -> InstanceScores:
    """`evaluate_instances` into FOLDER/evaluation.json, and nearest.png: samples over the real images nearest to them."""
    record, sheet = Path(folder) / "evaluation.json", Path(folder) / "nearest.png"
    refuse_existing([record, sheet], force)
    scores, samples = evaluate_instances(model, count, prior, seed=seed, features=features)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    with replacing(record) as file:
        file.write_text(json.dumps(_record(scores), indent=2) + "\n")
    _write_nearest(model, samples[:PAIRS], sheet)
    return scores


def _record(scores: InstanceScores) -> dict:
    named = {
        name: None if each is None else each._asdict()
        for name, each in (("scores", scores.scores), ("halves", scores.halves))
    }
    return {**asdict(scores), **named}


@torch.no_grad()
def _write_nearest(model: InstanceModel, samples: Tensor, path: Path) -> None:
    """Each sample, and under it the image of the run whose pixels are nearest: a copy would show."""
    places = torch.arange(len(model.instances), device=model.device)
    apart = torch.cat(
        [torch.cdist(samples.flatten(1), model.instances.domains.at(some).flatten(1)) for some in places.split(1024)], 1
    )
    nearest = model.instances.domains.at(apart.argmin(1))
    rows = []
    for own, real in zip(samples.split(PER_ROW), nearest.split(PER_ROW)):
        rows += [("samples", list(own)), ("nearest in pixels", list(real))]
    contact_sheet(rows, path=path)

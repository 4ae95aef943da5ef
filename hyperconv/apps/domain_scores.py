"""How well a Reptile-GAN imitates domains, its own and those held out, as distributions of named features."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from hyperconv.apps.imitate import DomainModel
from hyperconv.apps.instance_scores import FEWEST, LEAST, MOST
from hyperconv.apps.sheet import Row, contact_sheet
from hyperconv.data.domain_files import read_shots
from hyperconv.data.images import find_photos
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing, replacing
from hyperconv.gan.noise import seeded
from hyperconv.metrics.distribution import DistributionScores, distribution_scores
from hyperconv.nn.contrast import train_contrastive
from hyperconv.nn.instance_features import InstanceFeatures
from hyperconv.progress import OnEach

SHOWN = 6  # images of each kind and domain on the sheet


@dataclass(frozen=True)
class DomainScores:
    """Of one domain: whether the run was trained on it, and scores of `samples` imitations beside its `real` other images."""

    name: str
    seen: bool
    samples: int
    real: int
    scores: DistributionScores


@dataclass(frozen=True)
class DomainEvaluation:
    """Scores of domains imitated from `shots` images each, in the features called `features`."""

    features: str
    shots: int
    domains: list[DomainScores]

    def mean(self, seen: bool) -> DistributionScores | None:
        """Over the domains of the run, or those held out; None where there are none."""
        rows = [domain.scores for domain in self.domains if domain.seen == seen]
        return DistributionScores(*(sum(values) / len(rows) for values in zip(*rows))) if rows else None


def held_out_images(run: str | PathLike, model: DomainModel) -> dict[str, Tensor]:
    """The images of RUN/held_out by domain, (count, C, S, S) in [-1, 1]."""
    root = Path(run) / "held_out"
    folders = sorted({file.parent for file in root.rglob("*.png")})
    return {
        folder.relative_to(root).as_posix(): read_shots(folder, len(find_photos(folder)), model.domains)
        for folder in folders
    }


def evaluate_domains(
    model: DomainModel,
    held_out: dict[str, Tensor],
    k: int = 16,
    count: int | None = None,
    *,
    seed: int = 0,
    features: InstanceFeatures | None = None,
    on_domain: OnEach = None,
) -> tuple[DomainEvaluation, list[Row]]:
    """Imitate every domain of a run, and others by name, from k images each; scores, and rows for a sheet.

    The first k images of a domain are imitated, and only the rest is compared with. count: samples of each domain; as many
    as it has images, but 256 to 2,000, by default. features: a published network's (`InstanceFeatures.from_file`), by
    default those of a small net that is trained on the run's images by contrast. on_domain(done, all) is called after
    every domain. InputError where one has fewer than six images beside its shots.
    """
    own = {name: model.domains.images(name) for name in model.domains.names}
    everything = [(name, True, images) for name, images in own.items()]
    everything += [(name, False, images.to(model.domains.device)) for name, images in held_out.items()]
    for name, _, images in everything:
        if len(images) < k + LEAST:
            raise InputError(
                f"{name} has {len(images)} images: {k} to imitate and {LEAST} to compare with are needed, lower -k"
            )
    if features is None:
        features = train_contrastive(model.domains.pixels, source=seeded(model.domains.device, seed, "contrast"))
    features, found, rows = features.to(model.domains.device), [], []
    for done, (name, seen, images) in enumerate(everything, 1):
        shots, rest = images[:k], images[k:]
        number = min(max(len(rest), FEWEST), MOST) if count is None else count
        samples = model.adapt(shots, seed=seed).sample(number, seed)
        scores = distribution_scores(*(features.of_all(each, raw=True) for each in (samples, rest)))
        found.append(DomainScores(name, seen, number, len(rest), scores))
        rows.append((name if seen else f"{name}, never seen", [*shots[:SHOWN], None, *samples[:SHOWN]]))
        if on_domain is not None:
            on_domain(done, len(everything))
    return DomainEvaluation(features.name, k, found), rows


def write_domain_scores(
    path: str | PathLike,
    folder: str | PathLike,
    k: int = 16,
    count: int | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    features: InstanceFeatures | None = None,
    force: bool = False,
    on_domain: OnEach = None,
) -> DomainEvaluation:
    """`evaluate_domains` of a run, its own domains and RUN/held_out, into FOLDER/evaluation.json and imitations.png."""
    record, sheet = Path(folder) / "evaluation.json", Path(folder) / "imitations.png"
    refuse_existing([record, sheet], force)
    if count is not None and count < LEAST:
        raise InputError(f"{count} samples: scores of distributions need {LEAST} or more")
    model = DomainModel.open(path, device)
    evaluation, rows = evaluate_domains(
        model, held_out_images(path, model), k, count, seed=seed, features=features, on_domain=on_domain
    )
    sheet.parent.mkdir(parents=True, exist_ok=True)
    with replacing(record) as file:
        file.write_text(json.dumps(_record(evaluation), indent=2) + "\n")
    contact_sheet(rows, ["shots", *[""] * min(k, SHOWN), "imitated"], sheet)
    return evaluation


def _record(evaluation: DomainEvaluation) -> dict:
    domains = [{**asdict(domain), "scores": domain.scores._asdict()} for domain in evaluation.domains]
    means = {"seen": evaluation.mean(True), "never_seen": evaluation.mean(False)}
    return {
        **asdict(evaluation),
        "domains": domains,
        "mean": {name: None if scores is None else scores._asdict() for name, scores in means.items()},
    }

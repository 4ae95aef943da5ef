"""How good the samples of a run are: scores of every photo, beside those of images made elsewhere where wanted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike

import torch
from torch import Tensor

from hyperconv.apps.against import find_images, read_images
from hyperconv.apps.model import Model
from hyperconv.apps.sample import reconstruct, sample
from hyperconv.data.images import Photo
from hyperconv.errors import InputError
from hyperconv.metrics.inception import LEAST, InceptionFront
from hyperconv.metrics.patches import PATCH, coherence, patch_swd
from hyperconv.metrics.pixels import diversity, psnr, reconstruction_rmse
from hyperconv.metrics.sifid import sifid
from hyperconv.progress import OnEach

Scores = dict[str, float]
"""Score by its name; NaN where there is none."""


@dataclass(frozen=True)
class PhotoScores:
    """Of one photo, (height, width) `size` pixels.

    samples: patch_swd, coherence, diversity, with Inception weights sifid_192 or sifid_64 (by the block), and of the
    reconstruction reconstruction_rmse and reconstruction_psnr (dB). diversity_from[K]: diversity of samples with the
    photo itself below scale K, so what the scales from K on vary; the first is that of `samples`, and there are no
    others where they were not asked for. against: the scores of images made elsewhere, if any, and their sizes.
    """

    name: str
    size: tuple[int, int]
    samples: Scores
    diversity_from: list[float]
    against: Scores | None = None
    against_sizes: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """Scores of photos, and remarks, one line each, on what was left out or compares badly."""

    photos: list[PhotoScores]
    notes: list[str] = field(default_factory=list)

    def overall(self, of: Callable[[Iterable[float]], float] = statistics.fmean) -> Scores:
        """Mean (or statistics.median, ...) over the photos of every score of the samples, NaN left out."""
        return _overall([photo.samples for photo in self.photos], of)

    def overall_against(self, of: Callable[[Iterable[float]], float] = statistics.fmean) -> Scores:
        """The same of the images made elsewhere; empty where there are none."""
        return _overall([photo.against for photo in self.photos if photo.against is not None], of)

    def diversity_from(self) -> list[float]:
        """Mean over the photos of `PhotoScores.diversity_from`, for every K."""
        rows = [dict(enumerate(photo.diversity_from)) for photo in self.photos]
        return list(_overall(rows, statistics.fmean).values())


@torch.no_grad()
def evaluate(
    model: Model,
    names: Sequence[str] | None = None,
    count: int = 10,
    *,
    seed: int = 0,
    each_scale: bool = True,
    inception: InceptionFront | None = None,
    against: str | PathLike | None = None,
    on_photo: OnEach = None,
) -> Evaluation:
    """Score `count` samples of every photo (or of those of these names) beside the photo as the model is to know it.

    each_scale: also the diversity that every scale adds, which takes as many samples again for each scale.
    inception: score SIFID too. against: a folder of images of the same photos (see `find_images`), of which the first
    `count` of each photo are scored too, at the sizes they have. on_photo(done, all) is called after every photo.
    Scores depend on the model, `seed`, `count` and the images alone. InputError for an unknown name, a folder
    without images of the photos, or a photo too small to be scored.
    """
    chosen = list(dict.fromkeys(model.names[model.index(name)] for name in names or model.names))
    for name in chosen:
        _check_size(name, model.photo(name).shape[1:], inception)
    files = {} if against is None else find_images(against, model.names)
    photos, notes = [], []
    for done, name in enumerate(chosen, start=1):
        real = model.photo(name)
        samples = score(sample(model, name, count, seed=seed), real, inception)
        spreads = _spreads(model, name, real, count, seed) if each_scale and count > 1 else []
        others, problems = read_images(files.get(name, []), count, real.shape[0], _least(inception))
        photos.append(
            PhotoScores(
                name,
                tuple(real.shape[1:]),
                samples | _reconstruction_scores(model, name, real),
                [samples["diversity"], *spreads],
                score(others, real, inception) if others else None,
                [tuple(image.shape[1:]) for image in others],
            )
        )
        notes += problems
        if on_photo is not None:
            on_photo(done, len(chosen))
    return Evaluation(photos, notes + _notes(photos, against))


def with_scorable(
    model: Model, photos: Sequence[Photo], inception: InceptionFront | None = None
) -> tuple[Model, list[str]]:
    """The model of those photos that are large enough for it and for the scores, and a line for each other.

    InputError where there is none.
    """
    large, problems = [], []
    for photo in photos:
        try:
            sizes = model.config.pyramid().sizes(*photo.pixels.shape[1:], name=str(photo.path or photo.name))
            _check_size(photo.name, sizes[model.scales - 1], inception)
            large.append(photo)
        except InputError as error:
            problems.append(f"left out: {error}")
    if not large:
        raise InputError(problems[0].removeprefix("left out: "))
    return model.with_photos(large), problems


def score(samples: Sequence[Tensor], real: Tensor, inception: InceptionFront | None = None) -> Scores:
    """patch_swd, coherence, diversity and, with `inception`, sifid_192 or sifid_64 of samples (C, H, W) in [-1, 1].

    NaN for every score where a pixel is not finite, and for the diversity of fewer than two samples or several sizes.
    """
    samples = [image.to(real.device) for image in samples]
    block = {} if inception is None else {f"sifid_{inception.block}": math.nan}
    scores = {"patch_swd": math.nan, "coherence": math.nan, "diversity": math.nan, **block}
    if all(map(_finite, samples)):
        scores |= {"patch_swd": patch_swd(samples, real), "coherence": coherence(samples, real)}
        scores |= {"diversity": _diversity(samples, real)}
        scores |= {name: sifid(samples, real, inception) for name in block}
    return scores


def _diversity(samples: Sequence[Tensor], real: Tensor) -> float:
    one_size = len({image.shape for image in samples}) == 1
    return diversity(samples, real) if one_size and len(samples) > 1 else math.nan


def _spreads(model: Model, name: str, real: Tensor, count: int, seed: int) -> list[float]:
    """Diversity of samples with the photo itself below scale K, for K = 1, 2, ..."""
    starts = range(1, model.photo_model(name).scales)
    return [_diversity(sample(model, name, count, seed=seed, start_scale=start), real) for start in starts]


def _reconstruction_scores(model: Model, name: str, real: Tensor) -> Scores:
    image = reconstruct(model.photo_model(name))
    error, ratio = (reconstruction_rmse(image, real), psnr(image, real)) if _finite(image) else (math.nan, math.nan)
    return {"reconstruction_rmse": error, "reconstruction_psnr": ratio}


def _finite(image: Tensor) -> bool:
    return bool(image.isfinite().all())


def _overall(scores: list[dict], of: Callable[[Iterable[float]], float]) -> dict:
    """Of every key over the rows, which have the same ones; NaN left out."""
    names = scores[0] if scores else {}
    known = {name: [one[name] for one in scores if not math.isnan(one[name])] for name in names}
    return {name: of(values) if values else math.nan for name, values in known.items()}


def _least(inception: InceptionFront | None) -> int:
    """Pixels a side that the scores need."""
    return max(PATCH, LEAST[inception.block] if inception else 0)


def _check_size(name: str, size: Sequence[int], inception: InceptionFront | None) -> None:
    (height, width), least = size, _least(inception)
    if min(height, width) < least:
        features = " with these Inception features" if least > PATCH else ""
        raise InputError(f"{name} is {height}x{width} pixels in this run: scores{features} need {least} a side")


def _notes(photos: list[PhotoScores], folder: str | PathLike | None) -> list[str]:
    """A line for each thing to know of some of the photos."""
    kinds = {"samples that are not finite numbers, so no scores": lambda p: math.isnan(p.samples["patch_swd"])}
    if folder is not None:
        kinds[f"no image in {folder}"] = lambda p: not p.against_sizes
        kinds[f"images of another size in {folder}, compared as they are"] = lambda p: {*p.against_sizes} - {p.size}
        kinds[f"one image or several sizes in {folder}, so no diversity"] = lambda p: (
            p.against is not None and math.isnan(p.against["diversity"])
        )
    found = {kind: [photo.name for photo in photos if holds(photo)] for kind, holds in kinds.items()}
    return [f"{kind}: {len(some)} of {len(photos)} photos ({', '.join(some)})" for kind, some in found.items() if some]

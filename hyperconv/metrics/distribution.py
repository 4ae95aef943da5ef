"""Scores of two sets of features, of real and of generated images: how near the two distributions are.

Features are vectors (count, D) of any network or of none. Every score means something beside others of the same features
and of as many images only: say with each which they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 256  # vectors whose distances to all others are in memory at a time
SAME = 1e-12  # squared distance over the largest squared length: two equal vectors, but for rounding
PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5  # as published


class DistributionScores(NamedTuple):
    """Of generated features beside real ones; see `frechet_distance`, `precision_recall` and `density_coverage`."""

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float


@torch.no_grad()
def distribution_scores(generated: Tensor, real: Tensor) -> DistributionScores:
    """All scores of two sets of features (M, D) and (N, D), each of six vectors or more, with the published k."""
    distance = frechet_distance(*gaussian(generated), *gaussian(real))
    return DistributionScores(float(distance), *precision_recall(generated, real), *density_coverage(generated, real))


def gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (count, D), two or more -> their mean (D,) and unbiased covariance (D, D), float64."""
    features = features.double()
    return features.mean(0), torch.atleast_2d(torch.cov(features.T))


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians; means (D,), covariances (D, D); a scalar >= 0.

    |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) (Dowson and Landau 1982). The trace of the root is the sum of the singular
    values of R^T R', with S = R R^T and S' = R' R'^T: nothing is squared on the way, so singular covariances (fewer
    vectors than dimensions) lose no digits and need nothing added to their diagonals.
    """
    roots = _root(covariance).T @ _root(other_covariance)
    apart = (mean - other_mean).square().sum()
    traces = covariance.trace() + other_covariance.trace()
    return (apart + traces - 2 * torch.linalg.svdvals(roots).sum()).clamp(min=0)


def precision_recall(generated: Tensor, real: Tensor, k: int = PRECISION_NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al., NeurIPS 2019), each 0 to 1; higher is better.

    Precision: the share of generated vectors within the k-th nearest neighbour's distance of some real one, among the
    real ones. Recall: the same with the roles exchanged.
    """
    precise, _ = _balls(real, generated, k)
    recalled, _ = _balls(generated, real, k)
    return _share(precise > 0), _share(recalled > 0)


def density_coverage(generated: Tensor, real: Tensor, k: int = DENSITY_NEIGHBOURS) -> tuple[float, float]:
    """Density, about 1 for equal distributions and more among many real ones, and coverage, 0 to 1 (Naeem et al., ICML 2020).

    Around every real vector is a ball that reaches to its k-th nearest neighbour. Density: how many of them hold a
    generated vector, over k. Coverage: the share of those that hold any. Higher is better.
    """
    around, held = _balls(real, generated, k)
    return float(around.double().mean() / k), _share(held > 0)


def _balls(centres: Tensor, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """How many balls are around each vector, and how many vectors each holds; a ball reaches to the k-th neighbour."""
    if not 1 <= k < len(centres):
        raise ValueError(f"k is {k}: of {len(centres)} vectors each has {len(centres) - 1} neighbours")
    centres, vectors = centres.double(), vectors.double()
    same = SAME * max(float(each.square().sum(1).max()) for each in (centres, vectors))
    around, held = torch.zeros(len(vectors), dtype=torch.long, device=vectors.device), []
    for chunk, apart in zip(_distances(centres, centres), _distances(centres, vectors)):
        radii = chunk.kthvalue(k + 1, dim=1, keepdim=True).values  # the nearest is the centre itself
        within = apart <= radii + same
        around += within.sum(0)
        held.append(within.sum(1))
    return around, torch.cat(held)


def _distances(vectors: Tensor, others: Tensor) -> Iterator[Tensor]:
    """Squared distances (CHUNK, others) of so many vectors at a time."""
    lengths = others.square().sum(1)
    for chunk in vectors.split(CHUNK):
        products = torch.addmm(lengths, chunk, others.T, alpha=-2)
        yield (products + chunk.square().sum(1, keepdim=True)).clamp(min=0)


def _share(those: Tensor) -> float:
    return float(those.double().mean())


def _root(covariance: Tensor) -> Tensor:
    """R with R R^T = covariance, a symmetric matrix without negative eigenvalues but by rounding."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()

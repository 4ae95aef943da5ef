"""Single-image Frechet inception distance (SinGAN, section 3.1): one image's features against another's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperconv.data.images import with_channels
from hyperconv.metrics.inception import LEAST, InceptionFront
from hyperconv.metrics.pixels import unit_images


@torch.no_grad()
def sifid(samples: Tensor | Sequence[Tensor], real: Tensor, inception: InceptionFront) -> float:
    """Frechet distance between the features at all places of a sample and of the real image; lower is better.

    Images (C, H, W) in [-1, 1], grey or RGB, of any sizes from LEAST[inception.block] pixels a side on; the mean over
    the samples. `inception` is on the device of `real`. Say with every figure which block and weights it is of.
    """
    samples, real = unit_images(samples, real, LEAST[inception.block])
    known = gaussian(_features(real, inception))
    distances = [frechet_distance(*gaussian(_features(sample, inception)), *known) for sample in samples]
    return float(torch.stack(distances).mean())


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


def _root(covariance: Tensor) -> Tensor:
    """R with R R^T = covariance, a symmetric matrix without negative eigenvalues but by rounding."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()


def _features(image: Tensor, inception: InceptionFront) -> Tensor:
    """(C, H, W) in [0, 1] -> one vector for each place (h * w, block)."""
    return inception(with_channels(image, 3)[None])[0].flatten(1).T

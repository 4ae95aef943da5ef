"""Feature-free scores of generated images: do their 7x7 patches look like the photo's, and do samples differ.

Images as in `hyperconv.metrics.pixels`. A score of several samples is the mean of their scores. Random choices
depend on `seed` alone, so a score is always the same.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.metrics.pixels import unit_images

PATCH = 7
POOLINGS = (1, 2, 4)
PROJECTIONS = 128
QUANTILES = 512


def patch_swd(samples: Tensor | Sequence[Tensor], real: Tensor, seed: int = 0, max_patches: int = 16_000) -> float:
    """Sliced Wasserstein distance between the patches of samples and of the real image; lower is better.

    Mean absolute difference of 512 quantiles of 128 random unit projections of at most max_patches patches a
    side, averaged over average-pooling by 1, 2 and 4 (those that leave both images 7 pixels or more).
    """
    samples, real = unit_images(samples, real, PATCH)
    directions = torch.randn(PROJECTIONS, real.shape[0] * PATCH**2, generator=_generator(seed))
    directions = F.normalize(directions, dim=1).to(real.device)

    def distribution(image: Tensor, factor: int) -> Tensor:
        return _quantiles(directions @ _patches(F.avg_pool2d(image, factor), max_patches, seed).T)

    known = {factor: distribution(real, factor) for factor in POOLINGS if min(real.shape[1:]) // factor >= PATCH}
    distances = [
        [
            (distribution(sample, factor) - quantiles).abs().mean()
            for factor, quantiles in known.items()
            if min(sample.shape[1:]) // factor >= PATCH
        ]
        for sample in samples
    ]
    return _mean([torch.stack(of_one).mean() for of_one in distances])


def coherence(
    samples: Tensor | Sequence[Tensor],
    real: Tensor,
    seed: int = 0,
    sample_patches: int = 600,
    real_patches: int = 40_000,
) -> float:
    """Squared distance per element from a sample's patches to the nearest real ones; lower is better.

    Mean over at most sample_patches random patches of every sample, against at most real_patches real ones: of a
    larger photo (200x200 has 37,636) some patches are unknown, and even the photo itself scores a little over 0.
    """
    samples, real = unit_images(samples, real, PATCH)
    known = _patches(real, real_patches, seed)
    return _mean([_nearest(_patches(sample, sample_patches, seed + 1), known).mean() for sample in samples])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _mean(scores: list[Tensor]) -> float:
    return float(torch.stack(scores).mean())


def _patches(image: Tensor, limit: int, seed: int) -> Tensor:
    """All patches of (C, H, W), or a random choice of `limit` of them: (count, C * 49)."""
    windows = image.unfold(1, PATCH, 1).unfold(2, PATCH, 1)
    rows, columns = windows.shape[1:3]
    chosen = torch.randperm(rows * columns, generator=_generator(seed))[:limit].to(image.device)
    return windows[:, chosen // columns, chosen % columns].transpose(0, 1).flatten(1)


def _quantiles(values: Tensor) -> Tensor:
    """(rows, count) -> (rows, 512): the quantiles 0, 1/511, ..., 1 of every row."""
    ordered = torch.from_numpy(np.sort(values.cpu().numpy(), axis=1))  # torch's own sort takes 15 times as long
    return F.interpolate(ordered[None], QUANTILES, mode="linear", align_corners=True)[0]


def _nearest(patches: Tensor, known: Tensor, chunk: int = 128) -> Tensor:
    """Squared distance per element of every patch to its nearest in `known`."""
    lengths, distances = known.square().sum(1), []
    for part in patches.split(chunk):
        nearest = torch.addmm(lengths, part, known.T, alpha=-2).argmin(1)
        distances.append((part - known[nearest]).square().mean(1))
    return torch.cat(distances)

"""Feature-free scores of generated images: do their 7x7 patches look like the photo's, and do samples differ.

Images are (C, H, W) in [-1, 1], grey or RGB; scores are of the values brought to [0, 1] and clamped.
`samples` is one image or several of any sizes; a score of several is the mean of their scores. Random choices
depend on `seed` alone, so a score is always the same.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.data.images import with_channels

PATCH = 7
POOLINGS = (1, 2, 4)
PROJECTIONS = 128
QUANTILES = 512


def patch_swd(
    samples: Tensor | Sequence[Tensor], real: Tensor, seed: int = 0, max_patches: int = 16_000
) -> float:
    """Sliced Wasserstein distance between the patches of samples and of the real image; lower is better.

    Mean absolute difference of 512 quantiles of 128 random unit projections of at most max_patches patches a
    side, averaged over average-pooling by 1, 2 and 4 (those that leave both images 7 pixels or more).
    """
    samples, real = _unit_images(samples, real)
    directions = torch.randn(PROJECTIONS, real.shape[0] * PATCH**2, generator=_generator(seed))
    directions = F.normalize(directions, dim=1).to(real.device)
    return _mean([_swd(sample, real, directions, seed, max_patches) for sample in samples])


def coherence(
    samples: Tensor | Sequence[Tensor],
    real: Tensor,
    seed: int = 0,
    sample_patches: int = 600,
    real_patches: int = 40_000,
) -> float:
    """Squared distance per element from a sample's patches to the nearest real ones; lower is better.

    Mean over at most sample_patches random patches of every sample, against at most real_patches real ones.
    """
    samples, real = _unit_images(samples, real)
    known = _patches(real, real_patches, seed)
    return _mean([_nearest(_patches(sample, sample_patches, seed + 1), known).mean() for sample in samples])


def diversity(samples: Tensor | Sequence[Tensor], real: Tensor) -> float:
    """SinGAN's diversity: std of a pixel's grey value over the samples, averaged, over the real image's std.

    At least two samples, all of one size.
    """
    samples, real = _unit_images(samples, real)
    if len(samples) < 2 or len({sample.shape for sample in samples}) > 1:
        raise ValueError(
            f"diversity needs two or more samples of one size, got {[tuple(s.shape) for s in samples]}"
        )
    spread = with_channels(torch.stack(samples), 1).std(0, correction=0).mean()
    return float(spread / with_channels(real, 1).std(correction=0))


def reconstruction_rmse(reconstruction: Tensor, real: Tensor) -> float:
    """Root mean squared error of values in [0, 1] between two images of one size."""
    (reconstruction,), real = _unit_images(reconstruction, real)
    if reconstruction.shape != real.shape:
        raise ValueError(f"images differ in size: {tuple(reconstruction.shape)} and {tuple(real.shape)}")
    return float((reconstruction - real).square().mean().sqrt())


def _unit_images(samples: Tensor | Sequence[Tensor], real: Tensor) -> tuple[list[Tensor], Tensor]:
    """Samples as a list, all images in [0, 1] on the device of the real one."""
    samples = [samples] if isinstance(samples, Tensor) and samples.dim() == 3 else list(samples)
    if not samples:
        raise ValueError("samples is empty: a score needs at least one image")
    for image in (real, *samples):
        if image.dim() != 3 or image.shape[0] != real.shape[0] or min(image.shape[1:]) < PATCH:
            raise ValueError(
                f"images must be (C, H, W) of one C and at least {PATCH}x{PATCH} pixels, "
                f"got {tuple(image.shape)} against a real image {tuple(real.shape)}"
            )
    unit = [((image.detach().to(real.device).float() + 1) / 2).clamp(0, 1) for image in (real, *samples)]
    return unit[1:], unit[0]


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


def _swd(sample: Tensor, real: Tensor, directions: Tensor, seed: int, limit: int) -> Tensor:
    least = min(*sample.shape[1:], *real.shape[1:])
    distances = []
    for factor in POOLINGS:
        if least // factor >= PATCH:
            pooled = (F.avg_pool2d(image, factor) for image in (sample, real))
            one, other = (_quantiles(directions @ _patches(image, limit, seed).T) for image in pooled)
            distances.append((one - other).abs().mean())
    return torch.stack(distances).mean()


def _quantiles(values: Tensor) -> Tensor:
    """(rows, count) -> (rows, 512): the quantiles 0, 1/511, ..., 1 of every row."""
    ordered = torch.from_numpy(
        np.sort(values.cpu().numpy(), axis=1)
    )  # torch's own sort takes 15 times as long
    return F.interpolate(ordered[None], QUANTILES, mode="linear", align_corners=True)[0]


def _nearest(patches: Tensor, known: Tensor, chunk: int = 128) -> Tensor:
    """Squared distance per element of every patch to its nearest in `known`."""
    distances = []
    for part in patches.split(chunk):
        nearest = (known.square().sum(1) - 2 * part @ known.T).argmin(1)
        distances.append((part - known[nearest]).square().mean(1))
    return torch.cat(distances)

"""Scores of pixel values: how much samples differ from one another, how close a reconstruction is to its photo.

Images are (C, H, W) in [-1, 1], grey or RGB; scores are of the values brought to [0, 1] and clamped. `samples` is
one image or several.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hyperconv.data.images import with_channels

FLAT = 1e-6  # std of a grey value that is rounding alone


def diversity(samples: Tensor | Sequence[Tensor], real: Tensor) -> float:
    """SinGAN's diversity: std of a pixel's grey value over the samples, averaged, over the real image's std.

    At least two samples, all of one size. NaN where the real image is of one grey value only.
    """
    samples, real = unit_images(samples, real)
    if len(samples) < 2 or len({sample.shape for sample in samples}) > 1:
        raise ValueError(f"diversity needs two or more samples of one size, got {[tuple(s.shape) for s in samples]}")
    spread = with_channels(torch.stack(samples), 1).std(0, correction=0).mean()
    contrast = with_channels(real, 1).std(correction=0)
    return float(spread / contrast) if contrast > FLAT else math.nan


def reconstruction_rmse(reconstruction: Tensor, real: Tensor) -> float:
    """Root mean squared error of values in [0, 1] between two images of one size."""
    (reconstruction,), real = unit_images(reconstruction, real)
    if reconstruction.shape != real.shape:
        raise ValueError(f"images differ in size: {tuple(reconstruction.shape)} and {tuple(real.shape)}")
    return float((reconstruction - real).square().mean().sqrt())


def psnr(reconstruction: Tensor, real: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the full range; infinite for equal images of one size."""
    error = reconstruction_rmse(reconstruction, real)
    return math.inf if error == 0 else -20 * math.log10(error)


def unit_images(samples: Tensor | Sequence[Tensor], real: Tensor, least: int = 1) -> tuple[list[Tensor], Tensor]:
    """Samples as a list, all images in [0, 1] on the device of the real one.

    ValueError for no sample, an image of other channels than the real one's or with a side under `least`.
    """
    samples = [samples] if isinstance(samples, Tensor) and samples.dim() == 3 else list(samples)
    if not samples:
        raise ValueError("samples is empty: a score needs at least one image")
    for image in (real, *samples):
        if image.dim() != 3 or image.shape[0] != real.shape[0] or min(image.shape[1:]) < least:
            raise ValueError(
                f"images must be (C, H, W) of one C and at least {least}x{least} pixels, "
                f"got {tuple(image.shape)} against a real image {tuple(real.shape)}"
            )
    unit = [((image.detach().to(real.device).float() + 1) / 2).clamp(0, 1) for image in (real, *samples)]
    return unit[1:], unit[0]

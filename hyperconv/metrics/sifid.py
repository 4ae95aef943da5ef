"""Single-image Frechet inception distance (SinGAN, section 3.1): one image's features against another's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperconv.data.images import with_channels
from hyperconv.metrics.distribution import frechet_distance, gaussian
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


def _features(image: Tensor, inception: InceptionFront) -> Tensor:
    """(C, H, W) in [0, 1] -> one vector for each place (h * w, block)."""
    return inception(with_channels(image, 3)[None])[0].flatten(1).T

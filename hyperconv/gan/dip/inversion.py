"""Where in the generator's world a photo is: the prior and the noise that draw it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.gan.dip.system import InstanceGAN
from hyperconv.gan.noise import white
from hyperconv.nn.instance_features import InstanceFeatures

STARTS = 8  # noises that are tried side by side
LEARNING_RATE = 0.05
FEATURES = 0.1  # weight of 1 - cosine of the features, beside the mean squared error of pixels in [-1, 1]


class Inversion(NamedTuple):
    """The best of several: its prior (1, F), noise (1, latent), image (C, S, S) and mean squared error."""

    prior: Tensor
    noise: Tensor
    image: Tensor
    error: float


def invert(
    gan: InstanceGAN, photo: Tensor, extractor: InstanceFeatures | None, steps: int, source: torch.Generator
) -> Iterator[Inversion]:
    """Optimise prior and noise for a photo (C, S, S) in [-1, 1]; yields what there is at first and after every step.

    It starts from the photo's own features. Priors stay at unit norm, noises at the norm they are drawn with, so that
    both remain what the generator has been trained on. extractor None: the run is without the prior, noise alone moves.
    """
    photos = photo[None].expand(STARTS, -1, -1, -1)
    with torch.no_grad():
        wanted = torch.ones(1, 1, device=photo.device) if extractor is None else extractor(photo[None])
    prior = wanted.repeat(STARTS, 1).requires_grad_(extractor is not None)
    noise = _typical(white((STARTS, gan.config.latent), source)).requires_grad_()
    adam = torch.optim.Adam([each for each in (prior, noise) if each.requires_grad], LEARNING_RATE)
    for step in range(steps + 1):
        image = gan.average(noise, prior)
        errors = (image - photos).square().mean((1, 2, 3))
        best = int(errors.argmin())
        yield Inversion(
            *(each[best].detach().clone() for each in (prior[:, None], noise[:, None], image)),
            float(errors[best].detach()),
        )
        if step == steps:
            return
        loss = errors.sum()
        if extractor is not None:
            loss = loss + FEATURES * (1 - F.cosine_similarity(extractor(image), wanted)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            prior.copy_(F.normalize(prior, dim=1))
            noise.copy_(_typical(noise))


def _typical(noise: Tensor) -> Tensor:
    """At the norm of standard normal noise."""
    return F.normalize(noise, dim=1) * noise.shape[1] ** 0.5

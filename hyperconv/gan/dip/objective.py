"""The hinge losses (Lim and Ye 2017): scores (N,) of the discriminator -> a scalar."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Real images above 1, fake ones below -1, and no further."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Fake images as high as they will go."""
    return -fake.mean()

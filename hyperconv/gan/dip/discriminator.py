"""The projection discriminator (Miyato and Koyama 2018): is an image real, and is it of this instance?"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hyperconv.gan.dip.presets import DipConfig
from hyperconv.nn.conv import SharedConv2d


class Block(nn.Module):
    """(N, narrow, H, W) -> (N, wide, H, W), or half as high and wide, where `halve`.

    Two convolutions after a ReLU each, beside a 1x1 convolution. The first block of a net sees an image: no ReLU comes
    before its first convolution.
    """

    def __init__(self, narrow: int, wide: int, first: bool, halve: bool) -> None:
        super().__init__()
        self.conv1 = spectral_norm(SharedConv2d(narrow, wide, 3, padding=1))
        self.conv2 = spectral_norm(SharedConv2d(wide, wide, 3, padding=1))
        self.beside = spectral_norm(SharedConv2d(narrow, wide, 1))
        self.first, self.halve = first, halve

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x)))) + self.beside(x)
        return F.avg_pool2d(y, 2) if self.halve else y


class ProjectionDiscriminator(nn.Module):
    """D(x, f) = psi(phi(x)) + <D_emb(f), phi(x)>: images (N, C, S, S), priors (N, features) -> scores (N,).

    phi: residual blocks down to 4x4 pixels and their sum over the places; psi and D_emb are linear. All weights have
    spectral norm 1 (Miyato et al. 2018).
    """

    def __init__(self, config: DipConfig, channels: int, features: int) -> None:
        super().__init__()
        widths = config.widths(config.critic_hidden)[::-1]
        pairs = list(pairwise([channels, *widths]))
        self.blocks = nn.ModuleList(
            Block(*pair, first=number == 0, halve=number < config.levels) for number, pair in enumerate(pairs)
        )
        self.psi = spectral_norm(nn.Linear(widths[-1], 1))
        self.embed = spectral_norm(nn.Linear(features, widths[-1], bias=False))

    def phi(self, images: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, width)."""
        for block in self.blocks:
            images = block(images)
        return F.relu(images).sum((2, 3))

    def forward(self, images: Tensor, prior: Tensor) -> Tensor:
        features = self.phi(images)
        return self.psi(features)[:, 0] + (self.embed(prior) * features).sum(1)

    def trained(self, transfer: str) -> list[nn.Parameter]:
        """The parameters that learn: all, or, 'freeze-d', those above the lower half of the blocks (Mo et al. 2020)."""
        resting = self.blocks[: (len(self.blocks) + 1) // 2] if transfer == "freeze-d" else []
        rests = {id(parameter) for block in resting for parameter in block.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in rests]

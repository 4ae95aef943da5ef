"""A GAN with a Data Instance Prior: the two players, and the generator's moving average that draws images."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from hyperconv.gan.dip.discriminator import ProjectionDiscriminator
from hyperconv.gan.dip.generators import build_generator
from hyperconv.gan.dip.presets import DipConfig


class InstanceGAN(nn.Module):
    """generator and discriminator, for priors (N, features), and `average`, which follows the generator."""

    def __init__(self, config: DipConfig, channels: int, features: int) -> None:
        super().__init__()
        self.config, self.channels, self.features = config, channels, features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = build_generator(config, channels, features)
            self.discriminator = ProjectionDiscriminator(config, channels, features)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average after a step; it forgets its start sooner in the first steps. Statistics are copied."""
        decay = min(self.config.average, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), 1 - decay)
        for own, new in zip(self.average.buffers(), self.generator.buffers()):
            own.copy_(new)

    def draw(self, noise: Tensor, prior: Tensor) -> Tensor:
        """Images (N, C, S, S) in [-1, 1] of noise (N, latent) and priors (N, features), each independent of the others."""
        return self.average(noise, prior).clamp(-1, 1)

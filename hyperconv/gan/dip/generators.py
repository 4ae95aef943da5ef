"""Generators that read noise and the prior of an instance: residual, as SNGAN's and BigGAN's, or modulated, as StyleGAN2's.

Each maps noise (N, latent) and priors (N, features), of unit norm, to images (N, channels, S, S), near [-1, 1].
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.gan.dip.presets import DipConfig
from hyperconv.nn.conditional import ConditionalBatchNorm2d
from hyperconv.nn.conv import SharedConv2d
from hyperconv.nn.modulated import modulated_conv2d

SLOPE = 0.2  # of StyleGAN2's leaky ReLU
MAPPING_PACE = 0.01  # of its mapping network's learning rate


class Embedding(nn.Linear):
    """G_emb: priors (N, features) of unit norm, brought to mean square 1 -> (N, embedding)."""

    def forward(self, prior: Tensor) -> Tensor:
        return super().forward(prior * self.in_features**0.5)


class ResidualBlock(nn.Module):
    """(N, narrow, H, W) and contexts (N, context) -> (N, wide, 2 H, 2 W).

    Miyato and Koyama (2018): norm, ReLU and convolution, twice, beside a 1x1 convolution.
    """

    def __init__(self, narrow: int, wide: int, context: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ConditionalBatchNorm2d(narrow, context), SharedConv2d(narrow, wide, 3, padding=1)
        self.norm2, self.conv2 = ConditionalBatchNorm2d(wide, context), SharedConv2d(wide, wide, 3, padding=1)
        self.beside = SharedConv2d(narrow, wide, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x, context)), scale_factor=2))
        y = self.conv2(F.relu(self.norm2(y, context)))
        return y + F.interpolate(self.beside(x), scale_factor=2)


class ResidualGenerator(nn.Module):
    """SNGAN's (Miyato et al. 2018), whose norms all read the embedded prior; or BigGAN's (Brock et al. 2019).

    There the noise comes in parts: one for the first layer, one beside the prior for the norms of each block.
    """

    def __init__(self, config: DipConfig, channels: int, features: int) -> None:
        super().__init__()
        widths, self.chunks = config.widths(config.hidden), config.chunks
        part = config.latent // self.chunks
        context = config.embedding + (part if self.chunks > 1 else 0)
        self.embed = Embedding(features, config.embedding)
        self.first = nn.Linear(part, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(ResidualBlock(*pair, context) for pair in pairwise(widths))
        self.norm, self.last = nn.BatchNorm2d(widths[-1]), SharedConv2d(widths[-1], channels, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, Embedding)) or layer is self.first:
                nn.init.orthogonal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, noise: Tensor, prior: Tensor) -> Tensor:
        embedded, (first, *parts) = self.embed(prior), noise.chunk(self.chunks, 1)
        contexts = [torch.cat([embedded, part], 1) for part in parts] or [embedded] * len(self.blocks)
        x = self.first(first).unflatten(1, (-1, 4, 4))
        for block, context in zip(self.blocks, contexts):
            x = block(x, context)
        return torch.tanh(self.last(F.relu(self.norm(x))))


class EqualLinear(nn.Module):
    """A linear layer whose weights are N(0, 1), scaled as they are used (Karras et al. 2018), and learn at `pace`."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, pace: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / pace)
        self.bias = nn.Parameter(torch.full((outputs,), bias / pace))
        self.scale, self.pace = inputs**-0.5 * pace, pace

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.pace)


class StyledConv(nn.Module):
    """A convolution that a style (N, style) modulates, and a leaky ReLU; or, to_rgb, 1x1 and neither demodulated nor bent."""

    def __init__(self, narrow: int, wide: int, style: int, up: int = 1, to_rgb: bool = False) -> None:
        super().__init__()
        side = 1 if to_rgb else 3
        self.weight, self.scale = nn.Parameter(torch.randn(wide, narrow, side, side)), (narrow * side * side) ** -0.5
        self.bias, self.style = nn.Parameter(torch.zeros(wide)), EqualLinear(style, narrow, bias=1.0)
        self.up, self.to_rgb = up, to_rgb

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = modulated_conv2d(
            x,
            self.weight * self.scale,
            self.style(style),
            not self.to_rgb,
            bias=self.bias,
            up=self.up,
            activation=None if self.to_rgb else "leaky_relu",
            negative_slope=SLOPE,
        )
        return y if self.to_rgb else y * 2**0.5


class StyleGenerator(nn.Module):
    """StyleGAN2's (Karras et al. 2020): noise and embedded prior become a style; images of all sizes add up.

    Nothing else is random: pixels get no noise of their own, so that an image is a function of noise and prior.
    """

    def __init__(self, config: DipConfig, channels: int, features: int) -> None:
        super().__init__()
        widths, style = config.widths(config.hidden), config.latent
        self.embed = Embedding(features, config.embedding)
        inputs = [config.latent + config.embedding, *[style] * (config.mapping - 1)]
        self.mapping = nn.ModuleList(EqualLinear(count, style, pace=MAPPING_PACE) for count in inputs)
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.first, self.first_rgb = (
            StyledConv(widths[0], widths[0], style),
            StyledConv(widths[0], channels, style, to_rgb=True),
        )
        self.enlarging = nn.ModuleList(StyledConv(*pair, style, up=2) for pair in pairwise(widths))
        self.refining = nn.ModuleList(StyledConv(wide, wide, style) for wide in widths[1:])
        self.rgb = nn.ModuleList(StyledConv(wide, channels, style, to_rgb=True) for wide in widths[1:])

    def forward(self, noise: Tensor, prior: Tensor) -> Tensor:
        style = self.style(noise, prior)
        x = self.first(self.constant.expand(len(style), -1, -1, -1), style)
        image = self.first_rgb(x, style)
        for enlarge, refine, rgb in zip(self.enlarging, self.refining, self.rgb):
            x = refine(enlarge(x, style), style)
            image = F.interpolate(image, scale_factor=2, mode="bilinear") + rgb(x, style)
        return image

    def style(self, noise: Tensor, prior: Tensor) -> Tensor:
        """(N, latent); noise and embedded prior at mean square 1 each."""
        style = torch.cat([F.normalize(part, dim=1) * part.shape[1] ** 0.5 for part in (noise, self.embed(prior))], 1)
        for layer in self.mapping:
            style = F.leaky_relu(layer(style), SLOPE) * 2**0.5
        return style


def build_generator(config: DipConfig, channels: int, features: int) -> ResidualGenerator | StyleGenerator:
    """The generator of a configuration, randomly initialised."""
    kind = StyleGenerator if config.generator == "stylegan2" else ResidualGenerator
    return kind(config, channels, features)

"""The generators of a pyramid: at every scale a residual on the image of the scale below."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hyperconv.data import canvas
from hyperconv.data.canvas import Grid, Resampling
from hyperconv.gan.template import ConvStack
from hyperconv.nn.layout import WeightLayout, WeightSet


class Generator:
    """Templates of a pyramid that carries images from scale to scale (SinGAN, Meta Internal Learning).

    widths: channels of the hidden layers of each scale; the last number serves all that follow. shared_noise: the
    coarsest scale's noise is one map for all channels. noise_on_padding: the zeros around an image get noise too.

    Padding happens once, at the input: zeros of `margin` pixels. Several images of different sizes can therefore
    share a canvas (see `hyperconv.data.canvas`): a valid output pixel reads nothing but its own image and zeros.
    """

    carries_images = True
    picture_noise = 0.0

    def __init__(
        self,
        channels: int,
        *widths: int,
        depth: int = 5,
        negative_slope: float = 0.02,
        norm: bool = False,
        resampling: Resampling = "bilinear",
        shared_noise: bool = False,
        noise_on_padding: bool = True,
    ) -> None:
        self.channels = self.noise_channels = channels
        self.stacks = [
            ConvStack(channels, width, channels, depth=depth, negative_slope=negative_slope, tail="tanh", norm=norm)
            for width in widths or (64,)
        ]
        self.margin = self.stacks[0].margin
        self.noise_margin = self.margin if noise_on_padding else 0
        self.first_noise_channels = 1 if shared_noise else channels
        self.resampling: Resampling = resampling

    def stack(self, scale: int = 0) -> ConvStack:
        """The template of one scale."""
        return self.stacks[min(scale, len(self.stacks) - 1)]

    def layout(self, scale: int) -> WeightLayout:
        """Of the weights of one scale."""
        return self.stack(scale).layout

    def initial(self, scale: int, source: torch.Generator) -> Tensor:
        """Flat weights (P,) of a scale to start from, without a hypernetwork."""
        return self.stack(scale).initial(source)

    def first(self, z: Tensor, at: Grid, weights: WeightSet) -> Tensor:
        """The coarsest image (N, C, H, W) from noise z of that shape."""
        return self.stack()(F.pad(at.keep(z), [self.margin] * 4), weights, at.sizes, at.trained)

    def next(self, below: Tensor, old: Grid, new: Grid, noise: Tensor | None, weights: WeightSet, scale: int) -> Tensor:
        """The image of a scale (N, C, H, W) from that of the scale below (N, C, h, w).

        `noise` (N, C, H + 2 noise_margin, W + 2 noise_margin), already times its amplitude, is added to the enlarged
        image; None for a reconstruction.
        """
        enlarged = self.enlarge(below, old, new)
        noisy = F.pad(enlarged, [self.margin] * 4)
        if noise is not None:
            noise = noise if self.noise_margin else new.keep(noise)
            noisy = noisy + F.pad(noise, [self.margin - self.noise_margin] * 4)
        return self.stack(scale)(noisy, weights, new.sizes, new.trained) + enlarged

    def enlarge(self, below: Tensor, old: Grid, new: Grid) -> Tensor:
        """What a scale starts from: the image below (N, C, h, w) at its size (N, C, H, W), zero beyond."""
        return canvas.resample(below, old.sizes, new.sizes, new.extent, self.resampling)

    def image(self, carried: Tensor, at: Grid, tail: WeightSet | None) -> Tensor:
        """What is carried is the image."""
        return carried

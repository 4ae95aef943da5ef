"""ConSinGAN's generator: one network that grows a body at every scale, and carries features instead of images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hyperconv.data import canvas
from hyperconv.data.canvas import Grid
from hyperconv.gan.template import ConvStack
from hyperconv.nn.layout import WeightLayout, WeightSet


class GrowingGenerator:
    """Templates of ConSinGAN (Hinz et al. 2021, section 3): a head and a body, more bodies, one tail for all scales.

    noisy_borders: features are enlarged beyond the image, so that the borders vary as the inside does (the published
    mode for generation and animation). Otherwise every body sees zeros around the image (retargeting, harmonisation,
    editing). picture_noise: standard deviation of what is added to every picture that enters the coarsest scale, and to
    the photo where it is reconstructed from itself (editing: 0.1). Interfaces, and canvases, are those of
    `hyperconv.gan.generator.Generator`.
    """

    carries_images = False
    resampling = "bicubic"

    def __init__(
        self,
        channels: int,
        hidden: int = 64,
        *,
        depth: int = 3,
        negative_slope: float = 0.05,
        norm: bool = False,
        noisy_borders: bool = True,
        picture_noise: float = 0.0,
    ) -> None:
        self.channels = self.first_noise_channels = channels
        self.noise_channels = hidden
        slope = {"negative_slope": negative_slope}
        self.head = ConvStack(channels, hidden, hidden, depth=1, tail="leaky_relu", norm=norm, **slope)
        self.body = ConvStack(hidden, hidden, hidden, depth=depth, tail="leaky_relu", norm=norm, **slope)
        self.tail = ConvStack(hidden, hidden, channels, depth=1, tail="tanh", **slope)
        self.noisy_borders, self.picture_noise = noisy_borders, picture_noise
        self.noise_margin = self.body.margin if noisy_borders else 0
        self.first_layout = WeightLayout(
            {
                **{f"head.{name}": shape for name, shape in self.head.layout.shapes.items()},
                **{f"body.{name}": shape for name, shape in self.body.layout.shapes.items()},
            }
        )

    def layout(self, scale: int) -> WeightLayout:
        """Of the weights of one scale: the head belongs to the first."""
        return self.body.layout if scale else self.first_layout

    def initial(self, scale: int, source: torch.Generator) -> Tensor:
        """Flat weights (P,) of a scale to start from."""
        body = self.body.initial(source)
        return body if scale else torch.cat([self.head.initial(source), body])

    def first(self, z: Tensor, at: Grid, weights: WeightSet) -> Tensor:
        """The coarsest features (N, hidden, H, W) from z (N, C, H, W): noise, or an image."""
        layouts = (self.head.layout, self.body.layout)
        flats = weights.flat.split([layout.size for layout in layouts], dim=1)
        head, body = (WeightSet(layout, flat) for layout, flat in zip(layouts, flats))
        features = self.head(F.pad(at.keep(z), [1] * 4), head, at.sizes, at.trained)
        if self.noisy_borders:
            around, missing = at.grown(2), self.body.margin - 1
            features = canvas.resample(features, at.sizes, around.sizes, around.extent, self.resampling)
        else:
            features, missing = at.keep(features), self.body.margin
        return self.body(F.pad(features, [missing] * 4), body, at.sizes, at.trained)

    def next(self, below: Tensor, old: Grid, new: Grid, noise: Tensor | None, weights: WeightSet, scale: int) -> Tensor:
        """The features of a scale (N, hidden, H, W) from those of the scale below (N, hidden, h, w).

        `noise` (N, hidden, H + 2 noise_margin, W + 2 noise_margin), already times its amplitude; None for none.
        """
        enlarged, margin = self.enlarge(below, old, new), self.body.margin
        if self.noisy_borders:
            around = new.grown(2 * margin)
            noisy = canvas.resample(below, old.sizes, around.sizes, around.extent, self.resampling)
            noisy = noisy if noise is None else noisy + noise
        else:
            noisy = F.pad(enlarged if noise is None else enlarged + new.keep(noise), [margin] * 4)
        return self.body(noisy, weights, new.sizes, new.trained) + enlarged

    def enlarge(self, below: Tensor, old: Grid, new: Grid) -> Tensor:
        """What a scale starts from: the features below (N, hidden, h, w) at its size (N, hidden, H, W), zero beyond."""
        return canvas.resample(below, old.sizes, new.sizes, new.extent, self.resampling)

    def image(self, carried: Tensor, at: Grid, tail: WeightSet | None) -> Tensor:
        """Features of any scale (N, hidden, H, W) -> images (N, C, H, W)."""
        return self.tail(F.pad(at.keep(carried), [1] * 4), tail)

"""One scale of a pyramid generator: a residual on the upsampled image of the scale below."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from hyperconv.gan.template import ConvStack
from hyperconv.nn.layout import WeightSet


class Generator:
    """The template of one scale; every scale uses the same one with weights of its own.

    Padding happens once, at the input: zeros of `margin` pixels. Several images of different sizes can therefore
    share a canvas (see `hyperconv.data.canvas`): a valid output pixel reads nothing but its own image and zeros.
    """

    def __init__(self, channels: int, hidden: int = 64, *, depth: int = 5, negative_slope: float = 0.02) -> None:
        self.channels = channels
        self.stack = ConvStack(channels, hidden, channels, depth=depth, negative_slope=negative_slope, tail="tanh")
        self.margin = self.stack.margin

    def first(self, z: Tensor, weights: WeightSet) -> Tensor:
        """The coarsest image from noise z (N, C, H, W), which must be zero beyond each image's size."""
        return self.stack(F.pad(z, [self.margin] * 4), weights)

    def next(self, below: Tensor, noise: Tensor | None, weights: WeightSet) -> Tensor:
        """`below`: the image of the scale below, upsampled (N, C, H, W), zero beyond each image's size.

        `noise` (N, C, H + 2 margin, W + 2 margin), already times its amplitude, is added to the padded image;
        None for a reconstruction.
        """
        padded = F.pad(below, [self.margin] * 4)
        return self.stack(padded if noise is None else padded + noise, weights) + below

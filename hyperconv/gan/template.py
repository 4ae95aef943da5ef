"""A stack of convolutions that holds no weights: every sample brings its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.ops.functional import hyper_conv2d

TAIL_GAIN = {"tanh": 5 / 3, None: 1.0}
MEMORY_FORMATS = {"cpu": torch.contiguous_format, "cuda": torch.contiguous_format}
"""Of the activations, from the first layer to the last. On a CPU a step at 96x128 takes 8 % longer in channels_last;
on a GPU neither has been measured (`benchmarks.train_step --channels-last` does)."""


class ConvStack:
    """`depth` convolutions without padding, leaky ReLU between them, `tail` (None or 'tanh') after the last.

    The published nets are depth 5, hidden 64, kernel 3, slope 0.02: a receptive field of 11 pixels, so `margin`
    is 5: an input is that much larger than the output on each side.
    """

    def __init__(self, in_channels: int, hidden: int, out_channels: int, *, depth: int = 5, kernel_size: int = 3,
                 negative_slope: float = 0.02, tail: str | None = None) -> None:
        self.widths = [in_channels] + [hidden] * (depth - 1) + [out_channels]
        self.kernel_size = kernel_size
        self.negative_slope = negative_slope
        self.tail = tail
        self.margin = depth * (kernel_size - 1) // 2
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:])):
            shapes[f"{i}.weight"] = (fan_out, fan_in, kernel_size, kernel_size)
            shapes[f"{i}.bias"] = (fan_out,)
        self.layout = WeightLayout(shapes)

    @property
    def depth(self) -> int:
        return len(self.widths) - 1

    def scaling(self) -> dict[str, float]:
        """What a generated tensor is multiplied with at use: gain / sqrt(C_in k^2) for a weight, 1 / sqrt(C_in) for a bias."""
        inner = math.sqrt(2 / (1 + self.negative_slope**2))
        factors: dict[str, float] = {}
        for i, fan_in in enumerate(self.widths[:-1]):
            gain = inner if i < self.depth - 1 else TAIL_GAIN[self.tail]
            factors[f"{i}.weight"] = gain / math.sqrt(fan_in * self.kernel_size**2)
            factors[f"{i}.bias"] = 1 / math.sqrt(fan_in)
        return factors

    def __call__(self, input: Tensor, weights: WeightSet) -> Tensor:
        """(N, C, H, W) and B weight sets, N a multiple of B -> (N, C_out, H - 2 margin, W - 2 margin).

        Computes in the dtype of the weights and returns that of the input.
        """
        last = self.depth - 1
        return hyper_conv2d(self.hidden(input, weights), weights[f"{last}.weight"], weights[f"{last}.bias"],
                            activation=self.tail).to(input.dtype)

    def hidden(self, input: Tensor, weights: WeightSet) -> Tensor:
        """What the last layer sees (N, hidden, H - 2 margin + 2, W - 2 margin + 2)."""
        layout = MEMORY_FORMATS.get(input.device.type, torch.contiguous_format)
        x = input.to(weights.flat.dtype).contiguous(memory_format=layout)
        for i in range(self.depth - 1):
            x = hyper_conv2d(x, weights[f"{i}.weight"], weights[f"{i}.bias"], activation="leaky_relu",
                             negative_slope=self.negative_slope)
        return x

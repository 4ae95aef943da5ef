"""A stack of convolutions that holds no weights: every sample brings its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hyperconv.data import canvas
from hyperconv.nn.image_norm import image_norm
from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.ops.functional import hyper_conv2d

Tail = Literal["tanh", "leaky_relu"] | None
TAIL_GAIN = {"tanh": 5 / 3, None: 1.0}
MEMORY_FORMATS = {"cpu": torch.contiguous_format, "cuda": torch.channels_last}
"""Of the activations, from the first layer to the last. On a CPU a step at 96x128 takes 8 % longer in channels_last; on
an H200 its layers take less, those of few channels the most (`benchmarks.train_step --memory-format` compares)."""
PIXELS_AT_ONCE = 2**21  # of all samples, beyond which rows go through one band after another where nothing is learned

_recomputing = False


@contextmanager
def recomputing(wanted: bool) -> Iterator[None]:
    """Inside, stacks keep no activations for the way back, but compute them again there: slower, in less memory."""
    global _recomputing
    before, _recomputing = _recomputing, wanted
    try:
        yield
    finally:
        _recomputing = before


class ConvStack:
    """`depth` convolutions without padding, leaky ReLU between them, `tail` (None or an activation) after the last.

    The published nets of Meta Internal Learning are depth 5, hidden 64, kernel 3, slope 0.02: a receptive field of 11
    pixels, so `margin` is 5: an input is that much larger than the output on each side.

    norm: before every leaky ReLU each channel is brought to mean 0 and variance 1 over its own image's pixels, then
    multiplied with a gain and shifted, both parts of the weight set; a bias would cancel. For one image this is batch normalisation as
    SinGAN trains it; for several it is that of each alone.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        *,
        depth: int = 5,
        kernel_size: int = 3,
        negative_slope: float = 0.02,
        tail: Tail = None,
        norm: bool = False,
    ) -> None:
        self.widths = [in_channels] + [hidden] * (depth - 1) + [out_channels]
        self.kernel_size = kernel_size
        self.negative_slope = negative_slope
        self.activations: list[Tail] = ["leaky_relu"] * (depth - 1) + [tail]
        self.norm = norm
        self.margin = depth * (kernel_size - 1) // 2
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:])):
            shapes[f"{i}.weight"] = (fan_out, fan_in, kernel_size, kernel_size)
            for name in ("gain", "shift") if self.normalises(i) else ("bias",):
                shapes[f"{i}.{name}"] = (fan_out,)
        self.layout = WeightLayout(shapes)

    @property
    def depth(self) -> int:
        return len(self.widths) - 1

    def normalises(self, layer: int) -> bool:
        return self.norm and self.activations[layer] == "leaky_relu"

    def scaling(self) -> dict[str, float]:
        """What a generated tensor is multiplied with at use: gain / sqrt(C_in k^2) for a weight, 1 / sqrt(C_in) for a bias."""
        inner = math.sqrt(2 / (1 + self.negative_slope**2))
        factors: dict[str, float] = {}
        for i, fan_in in enumerate(self.widths[:-1]):
            gain = TAIL_GAIN.get(self.activations[i], inner)
            factors[f"{i}.weight"] = gain / math.sqrt(fan_in * self.kernel_size**2)
            factors[f"{i}.bias"] = 1 / math.sqrt(fan_in)
        return factors

    def initial(self, source: torch.Generator, he: bool = False) -> Tensor:
        """One flat weight set (P,) as SinGAN and its successors start: weights N(0, 0.02), gains N(1, 0.02), shifts 0,
        biases as in nn.Conv2d. he: weights with the deviation of He et al. (2015), which keeps the signal's strength."""
        parts, device, spread = [], source.device, self.scaling()
        for name, shape in self.layout.shapes.items():
            layer, kind = name.split(".")
            bound = 1 / math.sqrt(self.widths[int(layer)] * self.kernel_size**2)
            if kind in ("weight", "gain"):
                deviation = spread[name] if he and kind == "weight" else 0.02
                drawn = deviation * torch.randn(shape, generator=source, device=device) + (kind == "gain")
            elif kind == "bias":
                drawn = bound * (2 * torch.rand(shape, generator=source, device=device) - 1)
            else:
                drawn = torch.zeros(shape, device=device)
            parts.append(drawn.flatten())
        return torch.cat(parts)

    def __call__(
        self, input: Tensor, weights: WeightSet, sizes: Tensor | None = None, trained: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) and B weight sets, N a multiple of B -> (N, C_out, H - 2 margin, W - 2 margin).

        Computes in the dtype of the weights and returns that of the input. sizes (N, 2): what is valid of the output
        of each image, which a norm looks at; None: all of it. trained (N, 2): its size in training, if that was
        another. What is around an image shows within `margin` pixels of its edges; to the norm this border stays as
        large a part of the image as it was, or images would change their colours with their size. Without gradients
        and norm, an input of many pixels goes through in bands of rows: memory for hidden channels stays bounded, the
        result is the same.
        """
        if _recomputing and torch.is_grad_enabled():

            def again(input: Tensor, flat: Tensor) -> Tensor:
                return self._apply(input, WeightSet(self.layout, flat), sizes, trained)

            return checkpoint(again, input, weights.flat, use_reentrant=False, preserve_rng_state=False)
        height, width = (side - 2 * self.margin for side in input.shape[-2:])
        rows = max(1, PIXELS_AT_ONCE // max(1, len(input) * width))
        if torch.is_grad_enabled() or self.norm or rows >= height:
            return self._apply(input, weights, sizes, trained)
        bands = [input[:, :, top : min(top + rows, height) + 2 * self.margin] for top in range(0, height, rows)]
        return torch.cat([self._apply(band, weights, None) for band in bands], dim=2)

    def _apply(self, input: Tensor, weights: WeightSet, sizes: Tensor | None, trained: Tensor | None = None) -> Tensor:
        last = self.depth - 1
        return self._layer(last, self.hidden(input, weights, sizes, trained), weights, sizes, trained).to(input.dtype)

    def hidden(
        self, input: Tensor, weights: WeightSet, sizes: Tensor | None = None, trained: Tensor | None = None
    ) -> Tensor:
        """What the last layer sees (N, hidden, H - 2 margin + 2, W - 2 margin + 2)."""
        layout = MEMORY_FORMATS.get(input.device.type, torch.contiguous_format)
        x = input.to(weights.flat.dtype).contiguous(memory_format=layout)
        for i in range(self.depth - 1):  # an image of one channel has no memory format to hand on
            x = self._layer(i, x, weights, sizes, trained).contiguous(memory_format=layout)
        return x

    def _layer(self, i: int, x: Tensor, weights: WeightSet, sizes: Tensor | None, trained: Tensor | None) -> Tensor:
        weight = weights[f"{i}.weight"]
        if not self.normalises(i):
            return hyper_conv2d(
                x, weight, weights[f"{i}.bias"], activation=self.activations[i], negative_slope=self.negative_slope
            )
        x = hyper_conv2d(x, weight)
        beyond = (self.kernel_size - 1) * (self.depth - 1 - i)  # what later layers will cut off
        sizes, trained = (None if each is None else each + beyond for each in (sizes, trained))
        x = image_norm(x, weights[f"{i}.gain"], weights[f"{i}.shift"], self._counts(sizes, trained, *x.shape[-2:]))
        return F.leaky_relu_(x, self.negative_slope)

    def _counts(self, sizes: Tensor | None, trained: Tensor | None, height: int, width: int) -> Tensor | None:
        """What each pixel counts for in the statistics of its image; None: all alike."""
        if trained is not None:
            return canvas.shares(sizes, trained, self.margin, height, width)
        return None if sizes is None else canvas.mask(sizes, height, width)

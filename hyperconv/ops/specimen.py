"""A small layer for each class of kernel, found by asking which class each of many layers is in."""

import dataclasses
import functools
import itertools
import math

import torch
from torch import Tensor

from hyperconv.activations import LEAKY_RELU, TANH
from hyperconv.kernels.configurations import Layer
from hyperconv.ops.classes import layer_of, shape_of

Pair = tuple[int, int]

SETS = 2
KERNEL = (3, 3)
SLOPE = 0.2

LAYERS = ((64, 64), (32, 32), (3, 64), (64, 3), (3, 32), (64, 1))
"""(input channels, output channels) of the layers that networks here are made of."""
_MORE = (
    (16, 16),
    (32, 128),
    (128, 32),
    (32, 3),
    (3, 16),
    (16, 3),
    (1, 64),
    (64, 2),
    (2, 64),
    (32, 8),
    (8, 32),
    (3, 8),
    (8, 3),
    (3, 128),
    (128, 3),
    (3, 3),
    (3, 2),
    (2, 3),
    (3, 1),
    (1, 3),
    (2, 2),
    (2, 1),
    (1, 1),
)
_UNEVEN = (
    (50, 50),
    (27, 27),
    (11, 11),
    (20, 100),
    (100, 20),
    (5, 50),
    (50, 5),
    (5, 27),
    (27, 5),
    (5, 11),
    (11, 5),
    (5, 100),
    (100, 5),
    (21, 1),
    (1, 21),
    (21, 2),
    (2, 21),
    (21, 3),
    (3, 21),
    (21, 7),
    (7, 21),
    (5, 7),
    (7, 5),
    (5, 3),
    (3, 5),
    (5, 2),
    (2, 5),
    (5, 1),
    (1, 5),
)
_TINY = (
    (3, 9),
    (9, 3),
    (12, 12),
    (12, 17),
    (17, 12),
    (3, 17),
    (17, 3),
    (12, 33),
    (33, 12),
    (3, 33),
    (33, 3),
    (9, 65),
    (65, 9),
    (3, 65),
    (65, 3),
    (9, 1),
    (1, 9),
    (9, 2),
    (2, 9),
    (12, 3),
    (3, 12),
    (9, 8),
    (8, 9),
    (3, 8),
    (8, 3),
    (3, 3),
    (3, 2),
    (2, 3),
    (2, 2),
    (3, 1),
    (1, 3),
    (2, 1),
    (1, 2),
)
VARIANTS = {
    "usual": (*LAYERS, *_MORE),  # whole tiles of channels, a 3x3 kernel with padding 1
    "exchanged": (
        (64, 3),
        (32, 3),
        (64, 1),
        (16, 3),
    ),  # few outputs: a weight gradient takes the input as the fixed side
    "uneven": _UNEVEN,  # channels and pixels that fill no tile; groups, stride, dilation, uneven padding, tanh
    "tiny": _TINY,  # for Triton's interpreter, which takes milliseconds for a line of a program
}
_SIZES = {"uneven": ((13, 11), (50, 53)), "tiny": ((3, 4),)}


@dataclasses.dataclass(frozen=True)
class Specimen:
    """A layer with its images: `channels` and `outputs` of all groups together, `size` of the output."""

    variant: str
    channels: int
    outputs: int
    size: Pair
    stride: Pair
    channels_last: bool

    @property
    def geometry(self) -> tuple[Pair, Pair, Pair, int]:
        """(stride, padding, dilation, groups)."""
        uneven = self.variant == "uneven"
        return self.stride, (2, 0) if uneven else (1, 1), (1, 2) if uneven else (1, 1), 2 if uneven else 1

    @property
    def input_size(self) -> Pair:
        axes = zip(self.size, KERNEL, *self.geometry[:3], strict=True)
        return tuple((pixels - 1) * s + d * (taps - 1) + 1 - 2 * p for pixels, taps, s, p, d in axes)

    @property
    def samples(self) -> int:
        return SETS * (1 if min(self.size) > 40 else 2)

    def terms(self, operation: str) -> int:
        """How many products (or values) one value of a result sums."""
        if operation in ("conv2d", "masked_conv2d", "input_gradient"):
            summed = self.outputs if operation == "input_gradient" else self.channels
            return summed // self.geometry[3] * math.prod(KERNEL)
        return self.samples // SETS * math.prod(self.size)


@dataclasses.dataclass(frozen=True)
class Operands:
    """The tensors of a specimen; weight and bias of a set lie side by side in `flat`."""

    specimen: Specimen
    input: Tensor
    flat: Tensor
    grad: Tensor
    mask: Tensor

    def each(self, change) -> "Operands":
        """The same with every tensor changed by a function."""
        return Operands(self.specimen, *map(change, (self.input, self.flat, self.grad, self.mask)))

    def arguments(self, operation: str) -> tuple:
        """The arguments of a call of this operator."""
        layer, geometry = self.specimen, self.specimen.geometry
        channels = layer.channels // geometry[3]
        weight = self.flat[:, : -layer.outputs].unflatten(1, (layer.outputs, channels, *KERNEL))
        bias, activation = self.flat[:, -layer.outputs :], TANH if layer.variant == "uneven" else LEAKY_RELU
        sums = (self.grad, self.input, self.mask, SETS, KERNEL, *geometry, SLOPE)
        return {
            "conv2d": (self.input, weight, bias, *geometry, activation, SLOPE),
            "masked_conv2d": (self.input, weight, bias, self.mask, *geometry, SLOPE),
            "input_gradient": (self.grad, weight, self.mask, layer.input_size, *geometry, SLOPE),
            "weight_gradient": sums,
            "parameter_gradients": sums,
            "bias_gradient": (self.grad, self.mask, SETS, SLOPE),
        }[operation]


def draw(specimen: Specimen, dtype: torch.dtype) -> Operands:
    """Random operands on the CPU, the same at every call; no random state but their own is touched."""
    generator = torch.Generator("cpu").manual_seed(0)
    return _operands(
        specimen, lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu").to(dtype)
    )


def _operands(specimen: Specimen, normal) -> Operands:
    fan_in = specimen.channels // specimen.geometry[3] * math.prod(KERNEL)
    memory = torch.channels_last if specimen.channels_last else torch.contiguous_format
    shapes = (
        (specimen.samples, specimen.channels, *specimen.input_size),
        (specimen.samples, specimen.outputs, *specimen.size),
    )
    input, grad, mask = (normal(*shapes[index]).contiguous(memory_format=memory) for index in (0, 1, 1))
    flat = normal(SETS, specimen.outputs * (fan_in + 1)) * fan_in**-0.5
    return Operands(specimen, input, flat, grad, mask)


@functools.cache
def specimens(operation: str, arithmetic: str, variant: str = "usual") -> dict[Layer, Specimen]:
    """The first layer of a variant in each class that calls of this operator fall into."""
    if operation == "bias_gradient" and arithmetic == "tf32":  # sums alone are never taken in TF32
        return {}
    exchanged, uneven = variant == "exchanged", variant == "uneven"
    if exchanged and operation not in ("weight_gradient", "parameter_gradients"):
        return {}
    found: dict[Layer, Specimen] = {}
    strides = ((2, 1),) if uneven else ((1, 1),) if exchanged else ((1, 1), (2, 2))
    sizes = _SIZES.get(variant, ((16, 16), (48, 48)))
    groups = 2 if uneven else 1
    for stride, size, last, pair in itertools.product(strides, sizes, (False, True), VARIANTS[variant]):
        specimen = Specimen(variant, *(groups * channels for channels in pair), size, stride, last)
        shapes_only = _operands(specimen, lambda *shape: torch.empty(shape, device="meta"))
        found.setdefault(layer_of(arithmetic, shape_of(operation, shapes_only.arguments(operation))), specimen)
    return found

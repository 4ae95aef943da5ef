"""Who computes a call on a CPU where the native library runs, as measured: native, or PyTorch as the reference."""

from __future__ import annotations

import functools

import torch

from hyperconv.ops import native, results
from hyperconv.ops.classes import layer_of, shape_of
from hyperconv.ops.schema import output_size

# The dtypes that `choice` leaves to native, but for wide layers.
NATIVE = frozenset({torch.float32, torch.float64})
_FORWARD, _WEIGHT_GRADIENTS = ("conv2d", "masked_conv2d"), ("weight_gradient", "parameter_gradients")
_WIDE, _WIDE_OVER_FEW_PIXELS, _FEW_PIXELS, _TINY_IMAGE = 32, 16, 64, 25
_VERY_WIDE = 512  # whose weights leave the cache when Winograd's algorithm transforms them
# Output pixels, by the stride, from which Winograd's algorithm pays for kernels that it takes in parts.
_MANY_PIXELS, _LARGEST_KERNEL = {1: 512, 2: 256}, 7
# Channels of an output from which it is accurate enough for the few taps of a strided layer's input gradient.
_LONG_SUMS = 64


def choice(operation: str, args: tuple) -> str:
    """The measured rule where native runs: 'native' or 'reference'.

    Native works in float32 and float64. Wide float32 layers that Winograd's algorithm does not serve go to torch,
    which also reads float16 masks in whole vectors. On processors with AMX, torch's bfloat16 products were faster than
    native's in float32 until the image leaves their cache; native's own AMX kernels serve such a class once
    `results.FASTEST_ON_AMX` says so.
    """
    dtype = args[0].dtype
    if dtype in NATIVE:
        return "native" if suits_native(operation, args) else "reference"
    channels_in, channels_out, size = _call_shape(operation, args)
    wide, small = min(channels_in, channels_out) >= 16, size[0] * size[1] < 96 * 96
    if dtype == torch.bfloat16 and wide and _has_amx():
        if results.FASTEST_ON_AMX and (measured := _measured_on_amx(operation, args)):
            return measured
        return "reference" if small or operation in _WEIGHT_GRADIENTS else "native"
    if dtype == torch.float16 and channels_out >= 16 and small and operation == "masked_conv2d":
        return "reference"
    return "native"


def suits_native(operation: str, args: tuple) -> bool:
    """Whether native is the faster one in float32 or float64, as `benchmarks.wide` measured it with AVX2.

    Not for wide layers of kernels, strides and sizes that neither Winograd's algorithm nor columns serve (but for images
    of 1 x 1 kernels), nor for gradients of wide weights over images of a few pixels that many samples share, where those
    of other kernels and strides count as wide from 16 channels on.
    """
    if operation == "bias_gradient":
        return True
    groups = args[-3] if operation == "conv2d" else args[-2]
    if operation in _WEIGHT_GRADIENTS:
        channels_out, channels, kernel = args[0].shape[1], args[1].shape[1] // groups, args[4]
    else:
        _, channels_out, channels, *kernel = args[1].shape
    narrowest = min(channels, channels_out // groups)
    if narrowest < _WIDE_OVER_FEW_PIXELS or args[0].dtype == torch.float64:
        return True
    geometry = args[-6:-3] if operation == "conv2d" else args[-5:-2]
    sets = args[3] if operation in _WEIGHT_GRADIENTS else args[1].shape[0]
    if _in_columns(operation, channels, kernel, geometry, args[0], sets):
        return True
    pixels = args[0].shape[2] * args[0].shape[3]
    few_pixels = operation in _WEIGHT_GRADIENTS and pixels < _FEW_PIXELS
    if narrowest < _WIDE and not few_pixels:
        return True
    (height, width), (stride, _, dilation) = kernel, geometry
    if height * width == 1:
        return operation not in _WEIGHT_GRADIENTS or narrowest < _WIDE
    if not dilation[0] == dilation[1] == 1:
        return False
    if height == width == 3 and stride[0] == stride[1] == 1:
        tiny = operation == "input_gradient" and pixels < _TINY_IMAGE and narrowest >= _LONG_SUMS
        least = 64 if operation == "input_gradient" else 81
        in_between = operation not in _WEIGHT_GRADIENTS and narrowest >= _VERY_WIDE and least <= pixels <= 144
        return not (few_pixels or tiny or in_between)
    if operation == "input_gradient" and stride[0] == 2 and channels_out // groups < _LONG_SUMS:
        return False
    return narrowest >= _WIDE and _in_parts(operation, (height, width), stride, args[0])


def _in_columns(operation: str, channels: int, kernel: tuple[int, int], geometry: tuple, first: torch.Tensor,
                sets: int) -> bool:
    """Whether native takes the pixels, few of one weight set, as columns and is quicker than PyTorch.

    It takes some more (csrc/cpu/algorithm.cpp), where PyTorch is quicker still or the rule says native in any case.
    """
    size, strided = first.shape[2:], max(geometry[0]) > 1
    if operation in _FORWARD:
        size = [output_size(*axis) for axis in zip(size, kernel, *geometry, strict=True)]
    pixels = first.shape[0] // max(sets, 1) * size[0] * size[1]
    if operation in _FORWARD:
        fits = pixels <= (32 if strided else 16) and 16 * pixels <= channels * kernel[0] * kernel[1]
        return fits or (size[0] * size[1] <= 16 and pixels <= 128 and channels >= _WIDE)
    if operation == "input_gradient":
        return pixels <= (36 if strided else 16)
    return pixels <= (144 if strided else 96)


def _in_parts(operation: str, kernel: tuple[int, int], stride: tuple[int, int], first: torch.Tensor) -> bool:
    """Whether Winograd's algorithm serves such a kernel part by part, and quicker than PyTorch's code."""
    if stride[0] != stride[1] or stride[0] not in _MANY_PIXELS or max(kernel) > _LARGEST_KERNEL:
        return False
    pixels, least = first.shape[2] * first.shape[3], _MANY_PIXELS[stride[0]]
    if operation in _FORWARD:
        pixels //= stride[0] * stride[1]
    return min(kernel) >= (3 if operation == "input_gradient" else 4) and pixels >= least


@functools.cache
def _has_amx() -> bool:
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and supported()


def _measured_on_amx(operation: str, args: tuple) -> str | None:
    if native.instruction_set()[0] != "amx":
        return None
    return results.FASTEST_ON_AMX.get((operation, str(layer_of("bfloat16", shape_of(operation, args)))))


def _call_shape(operation: str, args: tuple) -> tuple[int, int, tuple[int, int]]:
    """Channels of input and output, and the input's (height, width), from the arguments of whichever operator it is."""
    first = args[0]
    if operation == "bias_gradient":
        return 0, first.shape[1], first.shape[2:]
    if operation in _WEIGHT_GRADIENTS:
        _, channels_in, *size = args[1].shape
        return channels_in, first.shape[1], size
    groups = args[-3] if operation == "conv2d" else args[-2]
    _, channels_out, channels, *_ = args[1].shape
    return channels * groups, channels_out, args[3] if operation == "input_gradient" else first.shape[2:]

"""Who computes a call on a CPU where the native library runs, as measured: native, or PyTorch as the reference."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from hyperconv.ops import native, results
from hyperconv.ops.classes import layer_of, shape_of
from hyperconv.ops.schema import output_size

# The dtypes that `choice` leaves to native, but for calls that PyTorch computes quicker.
NATIVE = frozenset({torch.float32, torch.float64})
_WEIGHT_GRADIENTS = ("weight_gradient", "parameter_gradients")
_SIZED = (*_WEIGHT_GRADIENTS, "input_gradient")  # the operators whose arguments give sizes beside their tensors'
CONVOLUTION, INPUT_GRADIENT, WEIGHT_GRADIENT = range(3)  # the products, as native.algorithm counts them


def choice(operation: str, args: tuple) -> str:
    """The measured rule where native runs: 'native' or 'reference'.

    Native works in float32 and float64; many products that it does not save go to torch, which also reads float16 masks
    in whole vectors. On processors with AMX, torch's bfloat16 products were faster than
    native's in float32 until the image leaves their cache; native's own AMX kernels serve such a class once
    `results.FASTEST_ON_AMX` says so. Those with AVX512-BF16 alone have a rule of their own, as torch's bfloat16 products
    are the faster ones there; without either, torch's are slow.
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
    if dtype == torch.bfloat16 and not _has_amx() and _has_bfloat16_products():
        return "native" if suits_native(operation, args) else "reference"
    if dtype == torch.float16 and channels_out >= 16 and small and operation == "masked_conv2d":
        return "reference"
    return "native"


def suits_native(operation: str, args: tuple) -> bool:
    """Whether native is the faster one, as `benchmarks.choice` measured it: in float32 (and float64) with AVX2 and with
    AVX-512, in bfloat16 with AVX512-BF16.

    It is where it saves products or memory traffic; its columns and its direct sums do as many products as PyTorch,
    which is quicker once they are many.
    """
    if operation == "bias_gradient":
        return True
    first, second = args[:2]
    geometry = args[-6:-2] if operation == "conv2d" else args[-5:-1]
    sizes = args[3:-5] if operation in _SIZED else ()  # that no tensor has
    channels_last = first.dtype == torch.bfloat16 and first.stride(1) == 1
    key = operation, first.dtype, channels_last, first.shape, second.shape, sizes, geometry
    try:
        return _suits_native(*key)
    except TypeError:  # lists, where the dispatcher was on the way
        return _suits_native(*key[:5], *(tuple(map(_hashable, values)) for values in key[5:]))


def both_suit_native(grad: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, geometry: tuple) -> bool:
    """What `suits_native` says of both gradients of a convolution in float32 or float64."""
    key = grad.dtype, grad.shape, input.shape, weight.shape, geometry[:-1]
    try:
        return _both_suit_native(*key)
    except TypeError:  # lists in the geometry
        return _both_suit_native(*key[:4], tuple(map(_hashable, key[4])))


@functools.lru_cache(maxsize=4096)
def _both_suit_native(
    dtype: torch.dtype, grad: Sequence[int], input: Sequence[int], weight: Sequence[int], geometry: tuple
) -> bool:
    by_input = _suits_native("input_gradient", dtype, False, grad, weight, (input[2:],), geometry)
    by_weight = (weight[0], weight[3:])
    return by_input and _suits_native("parameter_gradients", dtype, False, grad, input, by_weight, geometry)


def _hashable(value: int | Sequence[int]) -> int | tuple[int, ...]:
    return value if isinstance(value, int) else tuple(value)


@functools.lru_cache(maxsize=4096)
def _suits_native(
    operation: str,
    dtype: torch.dtype,
    channels_last: bool,
    first: Sequence[int],
    second: Sequence[int],
    sizes: tuple,
    geometry: tuple,
) -> bool:
    if dtype == torch.float64 or min(geometry[0]) < 1:  # a stride that native says the right words about
        return True
    call = _Call(operation, first, second, sizes, geometry, channels_last)
    if not call.products:
        return True
    rule = _QUICKER_IN_BFLOAT16 if dtype == torch.bfloat16 else _QUICKER
    quicker = rule.get((native.algorithm(call.product, call.layer), call.product))
    return quicker is None or quicker(call)


class _Call:
    """What decides about a call, of one group and weight set but for `products`.

    product: which of the three; layer: what native.algorithm asks for; pixels: of one image of the convolution's output
    (image), and of all that share a weight set; row: of weights, for one output channel; narrow: the fewer of the channels;
    products and of_set: multiplications, in millions, of the call and of one weight set; alone: whether that serves a
    single image; last: whether channels are innermost.
    """

    def __init__(
        self,
        operation: str,
        first: Sequence[int],
        second: Sequence[int],
        sizes: tuple,
        geometry: tuple,
        channels_last: bool = False,
    ) -> None:
        stride, padding, dilation, groups = geometry
        if operation in _WEIGHT_GRADIENTS:
            self.product, output, input, (sets, kernel) = WEIGHT_GRADIENT, first[2:], second[2:], sizes
            self.channels, self.channels_out = second[1] // groups, first[1] // groups
        else:
            sets, channels_out, self.channels, *kernel = second
            self.channels_out = channels_out // groups
            if operation == "input_gradient":
                self.product, output, (input,) = INPUT_GRADIENT, first[2:], sizes
            else:
                self.product, input = CONVOLUTION, first[2:]
                output = [output_size(*axis) for axis in zip(input, kernel, stride, padding, dilation, strict=True)]
        self.narrow, samples = min(self.channels, self.channels_out), first[0] // max(sets, 1)
        self.layer = (samples, self.channels, self.channels_out, *input, *output, *kernel, *stride, *padding, *dilation)
        self.strided, self.last, self.image = max(stride) > 1, channels_last, output[0] * output[1]
        self.pixels, self.row = samples * self.image, self.channels * kernel[0] * kernel[1]
        self.alone, self.pointwise = samples <= 1, self.row == self.channels
        self.of_set = self.row * self.channels_out * self.pixels / 1e6
        self.products = sets * groups * self.of_set


def _suits_winograd(call: _Call) -> bool:
    """Whether the kernel is taken whole by one tile, or there are pixels enough for the transforms of its parts."""
    return call.row <= 9 * call.channels or call.image >= (256 if call.strided else 512)


# Where a way of native's is the quicker one; any other always is. In float32:
_QUICKER = {
    ("winograd", CONVOLUTION): _suits_winograd,
    ("winograd", INPUT_GRADIENT): _suits_winograd,
    ("winograd", WEIGHT_GRADIENT): lambda call: (
        (not call.strided and call.row >= 9 * call.channels)
        or (call.image >= 300 and (not call.strided or call.row > 9 * call.channels))
    ),
    ("columns", CONVOLUTION): lambda call: call.products <= 2 or call.pixels <= max(20, call.channels_out // 2),
    ("columns", INPUT_GRADIENT): lambda call: (
        call.of_set <= 6
        or call.pixels <= 0.4 * call.channels_out
        or (call.strided and call.of_set <= 36)
        or call.row <= 80
    ),
    ("columns", WEIGHT_GRADIENT): lambda call: (
        call.products <= 8.9 or call.pixels <= (1.2 if call.image <= 16 else 0.4) * call.channels_out
    ),
    ("direct", CONVOLUTION): lambda call: (
        call.products <= 1.6
        or call.channels_out <= 4
        or (call.image > 30 and (call.channels_out <= 14 or call.row <= 300))
    ),
    ("direct", INPUT_GRADIENT): lambda call: call.of_set <= 1.6 or call.narrow <= 6 or call.image > 30,
    ("direct", WEIGHT_GRADIENT): lambda call: (
        call.products <= 1.9
        or (call.narrow <= 6 and call.channels_out <= 192)
        or (
            call.narrow <= 24
            and call.image > 110
            and call.row <= 3200
            and (call.channels_out <= 192 or not call.strided)
        )
        or (call.narrow <= 64 and call.image > 200 and call.row == call.channels)
    ),
}


def _suits_winograd_in_bfloat16(call: _Call) -> bool:
    """Whether float32's fewer products take less time than all of them in bfloat16: of 3x3 kernels over enough pixels."""
    if call.row == 9 * call.channels and not call.strided:
        return call.image >= (400 if call.last else 1000) or (call.last and call.narrow <= 32)
    return call.last and call.image >= 1000 and (call.product == WEIGHT_GRADIENT or call.row > 9 * call.channels)


_QUICKER_IN_BFLOAT16 = {
    ("winograd", CONVOLUTION): _suits_winograd_in_bfloat16,
    ("winograd", INPUT_GRADIENT): _suits_winograd_in_bfloat16,
    ("winograd", WEIGHT_GRADIENT): lambda call: call.narrow <= 16 or _suits_winograd_in_bfloat16(call),
    ("columns", CONVOLUTION): lambda call: call.of_set <= 0.9 or call.pixels <= 20,
    ("columns", INPUT_GRADIENT): lambda call: call.products <= 4.8 or call.pixels <= 0.15 * call.channels_out,
    ("columns", WEIGHT_GRADIENT): lambda call: call.of_set <= 1.5 or call.pixels <= 0.3 * call.channels_out,
    ("direct", CONVOLUTION): lambda call: (
        call.of_set <= 0.5
        or (call.of_set <= 2.9 and (call.products <= 2.2 or (call.channels_out <= 20 and not call.last)))
        or (call.alone and call.channels_out <= 4 and not call.strided)
        or (call.alone and call.pointwise and (call.last or call.narrow <= 48) and call.image >= 200)
    ),
    ("direct", INPUT_GRADIENT): lambda call: (
        call.of_set <= 0.5 or call.channels_out <= 10
        if call.last
        else call.of_set <= 3 or call.channels_out <= 1 or (call.alone and call.pointwise and call.narrow <= 64)
    ),
    ("direct", WEIGHT_GRADIENT): lambda call: (
        call.of_set <= 0.3 or call.channels_out <= 10
        if call.last
        else call.products <= 2.2
        or (call.channels_out <= 28 and call.narrow <= 10)
        or (call.alone and (call.narrow <= 10 or (call.pointwise and call.narrow <= 64 and call.image >= 500)))
    ),
    ("pairs", CONVOLUTION): lambda call: call.products <= 4.2 or call.channels_out <= 56 or call.image >= 900,
    ("pairs", INPUT_GRADIENT): lambda call: call.products <= 3.2 or call.narrow <= 3,
    ("planes", INPUT_GRADIENT): lambda call: not call.last,
}


@functools.cache
def _has_amx() -> bool:
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and supported()


@functools.cache
def _has_bfloat16_products() -> bool:
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
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

"""Which tiles a layer gets: the user's own measurements, else the shipped table, else a rule.

A layer falls into a class by what bounds it, and (capability, arithmetic, class) is the key:

    correlate/wide/64/small/nchw     matrix tiles of 64 output channels; images so small that tiles are scarce
    correlate/flat/64/large/nhwc     few input channels: the pairs (channel, tap) flattened into one tile
    correlate/thin/4/large/nchw      few output channels where matrix tiles would not help, or float64: outer products
    accumulate/...                   the same for weight gradients, by the rows (output channels) of the result

Arithmetic is the operands' dtype, and 'tf32' for float32 where torch's switch allows it.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from hyperconv.kernels import measured

SMALL = 48 * 48
"""Pixels of an image below which it is small: at 16 samples, 128-pixel tiles would leave multiprocessors idle."""

FEW_CHANNELS = 8
"""Of a group, so many leave a tile of one tap mostly empty."""

MANY_TAPS = 4
"""Reads of a value from which on it is masked once before them."""


class Layer(NamedTuple):
    """The class of a call; `outputs` is the padded width of its tile's second side."""

    kernel: str
    kind: str
    outputs: int
    size: str
    layout: str

    def __str__(self) -> str:
        return "/".join(map(str, self))

    @property
    def small(self) -> bool:
        return self.size == "small"


@dataclass(frozen=True)
class Tiles:
    """Sizes of a program's tile and how it is scheduled.

    `pack` copies the weights into tile order first, `relaid` the images into the other memory format: channels_last,
    or NCHW where they are that. The sizes are then those of a kernel for that one.
    """

    pixels: int
    pairs: int
    outputs: int
    warps: int = 4
    stages: int = 3
    pack: bool = False
    relaid: bool = False


def power_of_two(value: int, least: int, most: int) -> int:
    """The smallest power of two not below `value`, within bounds that are powers of two."""
    return min(max(1 << (value - 1).bit_length(), least), most)


def classify(
    kernel: str, arithmetic: str, channels: int, outputs: int, taps: int, pixels: int, channels_last: bool
) -> Layer:
    """The class of a layer with these channels per group, taps, and pixels per image."""
    size, layout = "small" if pixels < SMALL else "large", "nhwc" if channels_last else "nchw"
    if arithmetic == "float64" or outputs <= 4 and _few_products(kernel, channels, taps, channels_last):
        return Layer(kernel, "thin", power_of_two(outputs, 1, 4), size, layout)
    kind = "flat" if channels <= FEW_CHANNELS else "wide"
    most = 128 if kernel == "correlate" and kind == "wide" else 64
    return Layer(kernel, kind, power_of_two(outputs, 8 if kernel == "correlate" else 16, most), size, layout)


def exchanged(channels: int, outputs: int, stride: Sequence[int] = (1, 1)) -> bool:
    """Whether a weight gradient's rows are its input channels instead of its outputs, both counted per group.

    Its few outputs are then what is flattened with the taps: the input is the fixed tensor, the gradient moves.
    """
    return outputs <= FEW_CHANNELS and outputs < channels and stride[0] == stride[1] == 1


def _few_products(kernel: str, channels: int, taps: int, channels_last: bool) -> bool:
    """Whether few outputs are better summed without matrix units.

    In channels_last a pixel's channels come 16 bytes at a time only as rows of a matrix tile: read one by one, each
    is a memory sector of its own.
    """
    if kernel == "correlate":
        return channels <= FEW_CHANNELS or not channels_last
    return channels * taps <= 64


def rule(capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """Tiles for a class nobody has measured: what fits in registers with every value of a tile loaded on its own.

    In channels_last, 16-byte reads take fewer addresses, so tiles are deeper: fewer steps, each waiting less. Packing
    pays where a program's products outweigh one more launch: in PyTorch's order a tap's weights lie kH * kW elements
    apart, and each read fetches all.
    """
    if layer.kernel == "correlate":
        return correlation_rule(capability, arithmetic, layer, pairs)
    return sum_rule(capability, arithmetic, layer, pairs)


def correlation_rule(capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """128 pixels, fewer where a small image would leave multiprocessors without a program, and where few outputs leave
    the time to memory, which more programs keep busier. 32 channels, but 16 where the addresses of single values, or
    the operands of float32, would not fit in registers.

    Hopper's matrix units read 16-bit operands from shared memory, and leave the registers to deeper tiles.
    """
    if layer.kind == "thin":
        return Tiles(pixels=64 if layer.small else 256, pairs=power_of_two(pairs, 1, 4), outputs=layer.outputs)
    exact, flat, narrow = arithmetic == "float32", layer.kind == "flat", layer.outputs <= 16
    few = narrow or layer.small or (flat and not sixteen_bit(arithmetic)) or (exact and layer.outputs < 64)
    one_by_one = arithmetic == "tf32" and layer.layout == "nchw" and not flat
    shallow = exact or one_by_one and (not layer.small or capability == "8.0")
    hopper = capability == "9.0" and sixteen_bit(arithmetic) and layer.layout == "nhwc" and not (flat or layer.small)
    return Tiles(
        pixels=64 if few else 128,
        pairs=power_of_two(pairs, 16, 16 if shallow else 64 if hopper else 32),
        outputs=min(layer.outputs, 128 if hopper else 64),
        warps=4 if narrow else 8,
        stages=2 if flat or exact else 3,
        pack=not (flat or layer.small),
    )


def sum_rule(capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """Both operands are read from memory, so the tile's sides are alike. A step sums over few pixels: those of NCHW are
    read one by one. Four warps where matrix units read their operands from shared memory: eight would each find half of
    the products for nearly the same addresses."""
    if layer.kind == "thin":
        return Tiles(pixels=32, pairs=16, outputs=layer.outputs, stages=2)
    exact, flat, shared = arithmetic == "float32", layer.kind == "flat", capability != "8.0"
    if exact or flat or not (shared or layer.layout == "nhwc"):
        pixels = 16
    else:
        pixels = 64 if sixteen_bit(arithmetic) and layer.layout == "nhwc" and layer.outputs == 64 else 32
    return Tiles(
        pixels=pixels,
        pairs=power_of_two(pairs, 16, 32 if exact or flat else 64),
        outputs=min(layer.outputs, 32 if exact else 64),
        warps=8 if layer.outputs == 64 and not exact and not shared else 4,
        stages=2 if exact else 3,
    )


def sixteen_bit(arithmetic: str) -> bool:
    return arithmetic in ("bfloat16", "float16")


SHIPPED: dict[tuple[str, str, str], Tiles] = {
    # On an H200 (Triton 3.6), 16 samples of 128 or 25 pixels a side. Relaid sums of TF32 in channels_last, and relaid
    # layers of few outputs in NCHW, have the other format's tiles, which were quicker by more than a copy takes.
    ("9.0", "bfloat16", "accumulate/flat/64/large/nchw"): Tiles(64, 32, 64, 4, 3),
    ("9.0", "bfloat16", "accumulate/flat/64/large/nhwc"): Tiles(32, 32, 64, 4, 3),
    ("9.0", "bfloat16", "accumulate/wide/32/large/nchw"): Tiles(64, 64, 32, 4, 3, relaid=True),
    ("9.0", "bfloat16", "accumulate/wide/32/large/nhwc"): Tiles(64, 64, 32, 4, 3),
    ("9.0", "bfloat16", "accumulate/wide/64/large/nchw"): Tiles(64, 64, 64, 4, 3, relaid=True),
    ("9.0", "bfloat16", "accumulate/wide/64/large/nhwc"): Tiles(64, 64, 64, 4, 3),
    ("9.0", "bfloat16", "accumulate/wide/64/small/nchw"): Tiles(128, 64, 64, 4, 2, relaid=True),
    ("9.0", "bfloat16", "accumulate/wide/64/small/nhwc"): Tiles(128, 64, 64, 4, 2),
    ("9.0", "bfloat16", "correlate/flat/64/large/nchw"): Tiles(128, 32, 64, 4, 2),
    ("9.0", "bfloat16", "correlate/flat/64/large/nhwc"): Tiles(128, 32, 64, 4, 2),
    ("9.0", "bfloat16", "correlate/thin/1/large/nchw"): Tiles(128, 64, 8, 4, 3, pack=True, relaid=True),
    ("9.0", "bfloat16", "correlate/thin/4/large/nchw"): Tiles(128, 64, 8, 4, 3, pack=True, relaid=True),
    ("9.0", "bfloat16", "correlate/thin/4/small/nchw"): Tiles(64, 64, 8, 4, 3, relaid=True),
    ("9.0", "bfloat16", "correlate/wide/32/large/nchw"): Tiles(128, 32, 32, 4, 4, pack=True, relaid=True),
    ("9.0", "bfloat16", "correlate/wide/32/large/nhwc"): Tiles(128, 32, 32, 4, 4, pack=True),
    ("9.0", "bfloat16", "correlate/wide/64/large/nchw"): Tiles(128, 64, 64, 4, 3, pack=True, relaid=True),
    ("9.0", "bfloat16", "correlate/wide/64/large/nhwc"): Tiles(128, 64, 64, 4, 3, pack=True),
    ("9.0", "bfloat16", "correlate/wide/64/small/nchw"): Tiles(64, 64, 64, 4, 3, pack=True, relaid=True),
    ("9.0", "bfloat16", "correlate/wide/64/small/nhwc"): Tiles(64, 64, 64, 4, 3, pack=True),
    ("9.0", "bfloat16", "correlate/wide/8/large/nhwc"): Tiles(128, 64, 8, 4, 3, pack=True),
    ("9.0", "bfloat16", "correlate/wide/8/small/nhwc"): Tiles(64, 64, 8, 4, 3),
    ("9.0", "tf32", "accumulate/flat/64/large/nchw"): Tiles(16, 32, 64, 4, 3),
    ("9.0", "tf32", "accumulate/flat/64/large/nhwc"): Tiles(16, 32, 64, 4, 3),
    ("9.0", "tf32", "accumulate/wide/32/large/nchw"): Tiles(32, 32, 32, 4, 3),
    ("9.0", "tf32", "accumulate/wide/32/large/nhwc"): Tiles(32, 32, 32, 4, 3, relaid=True),
    ("9.0", "tf32", "accumulate/wide/64/large/nchw"): Tiles(32, 64, 64, 4, 3),
    ("9.0", "tf32", "accumulate/wide/64/large/nhwc"): Tiles(32, 64, 64, 4, 3, relaid=True),
    ("9.0", "tf32", "accumulate/wide/64/small/nchw"): Tiles(64, 64, 64, 8, 3),
    ("9.0", "tf32", "accumulate/wide/64/small/nhwc"): Tiles(64, 64, 64, 8, 3, relaid=True),
    ("9.0", "tf32", "correlate/flat/64/large/nchw"): Tiles(128, 32, 64, 4, 2),
    ("9.0", "tf32", "correlate/flat/64/large/nhwc"): Tiles(128, 32, 64, 4, 2),
    ("9.0", "tf32", "correlate/thin/1/large/nchw"): Tiles(256, 4, 1, 2, 3),
    ("9.0", "tf32", "correlate/thin/4/large/nchw"): Tiles(64, 32, 8, 4, 4, pack=True, relaid=True),
    ("9.0", "tf32", "correlate/thin/4/small/nchw"): Tiles(64, 32, 8, 4, 3, relaid=True),
    ("9.0", "tf32", "correlate/wide/32/large/nchw"): Tiles(128, 32, 32, 4, 3, pack=True, relaid=True),
    ("9.0", "tf32", "correlate/wide/32/large/nhwc"): Tiles(128, 32, 32, 4, 3, pack=True),
    ("9.0", "tf32", "correlate/wide/64/large/nchw"): Tiles(128, 32, 64, 4, 3, pack=True, relaid=True),
    ("9.0", "tf32", "correlate/wide/64/large/nhwc"): Tiles(128, 32, 64, 4, 3, pack=True),
    ("9.0", "tf32", "correlate/wide/64/small/nchw"): Tiles(64, 32, 64, 4, 3, pack=True, relaid=True),
    ("9.0", "tf32", "correlate/wide/64/small/nhwc"): Tiles(64, 32, 64, 4, 3, pack=True),
    ("9.0", "tf32", "correlate/wide/8/large/nhwc"): Tiles(64, 32, 8, 4, 4, pack=True),
    ("9.0", "tf32", "correlate/wide/8/small/nhwc"): Tiles(64, 32, 8, 4, 3),
}
"""Measured tiles by (capability, arithmetic, class)."""


@functools.cache
def measured_here(capability: str) -> dict[tuple[str, str], Tiles]:
    """What `hyperconv tune` found on this machine's GPU of a capability, by (arithmetic, class)."""
    return {tuple(name.split(" ")): Tiles(**tiles) for name, tiles in measured.best(capability).items()}


def unmeasured(capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """The tiles where this machine's measurements name none: shipped, or by the rule."""
    measured_as = "bfloat16" if arithmetic == "float16" else arithmetic  # as wide, by the same units
    return fitted(SHIPPED.get((capability, measured_as, str(layer))), capability, arithmetic, layer, pairs)


def tiles(capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """The tiles for a layer whose channels (or flattened pairs) are `pairs`."""
    own = measured_here(capability).get((arithmetic, str(layer)))
    return (
        fitted(own, capability, arithmetic, layer, pairs) if own else unmeasured(capability, arithmetic, layer, pairs)
    )


def fitted(measured: Tiles | None, capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """Tiles measured on a layer of the class, for one of perhaps fewer channels; by the rule where there are none.

    So few channels that rows of them fill no tile are not worth a copy in rows.
    """
    if measured is None or measured.relaid and pairs <= FEW_CHANNELS:
        return rule(capability, arithmetic, layer, pairs)
    if layer.kernel == "accumulate":
        return measured
    return replace(measured, pairs=min(measured.pairs, power_of_two(pairs, 1 if layer.kind == "thin" else 16, 128)))

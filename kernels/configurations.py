"""Which tiles a layer gets: the user's own measurements, else the shipped table, else a rule.

A layer falls into a class by what bounds it, and (capability, arithmetic, class) is the key:

    correlate/wide/64/small     matrix tiles of 64 output channels; images so small that tiles are scarce
    correlate/flat/64/large     few input channels: the pairs (channel, tap) flattened into one tile
    correlate/thin/4/large      few output channels, or float64: outer products, no matrix units
    accumulate/...              the same for weight gradients, by the rows (output channels) of the result

Arithmetic is the operands' dtype, and 'tf32' for float32 where torch's switch allows it.
"""

import functools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

SMALL = 48 * 48
"""Pixels of an image below which it is small: at 16 samples, 128-pixel tiles would leave multiprocessors idle."""


class Layer(NamedTuple):
    """The class of a call; `outputs` is the padded width of its tile's second side."""

    kernel: str
    kind: str
    outputs: int
    small: bool

    def __str__(self) -> str:
        return f"{self.kernel}/{self.kind}/{self.outputs}/{'small' if self.small else 'large'}"


@dataclass(frozen=True)
class Tiles:
    """Sizes of a program's tile and how it is scheduled; `pack` copies the weights into tile order first."""

    pixels: int
    pairs: int
    outputs: int
    warps: int = 4
    stages: int = 3
    pack: bool = False


def power_of_two(value: int, least: int, most: int) -> int:
    """The smallest power of two not below `value`, within bounds that are powers of two."""
    return min(max(1 << (value - 1).bit_length(), least), most)


def classify(kernel: str, arithmetic: str, channels: int, outputs: int, taps: int, pixels: int) -> Layer:
    """The class of a layer with these channels per group, taps, and pixels per image."""
    plain = arithmetic == "float64" or (
        outputs <= 4 if kernel == "correlate" else outputs <= 4 and channels * taps <= 64
    )
    if plain:
        return Layer(kernel, "thin", power_of_two(outputs, 1, 4), pixels < SMALL)
    kind = "flat" if channels <= 8 else "wide"
    return Layer(kernel, kind, power_of_two(outputs, 16, 64), pixels < SMALL)


def rule(arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """Tiles for a class nobody has measured: what registers and shared memory allow without spills.

    Matrix tiles keep 32 to 64 float32 totals per thread. Packing pays where a program's products outweigh one more
    launch: weights in PyTorch's order put a tap's channels kH * kW elements apart, and each read fetches them all.
    """
    sixteen_bit, exact = arithmetic in ("bfloat16", "float16"), arithmetic == "float32"
    if layer.kind == "thin":
        if layer.kernel == "correlate":
            return Tiles(pixels=64 if layer.small else 256, pairs=4, outputs=layer.outputs)
        return Tiles(pixels=32, pairs=16, outputs=layer.outputs, stages=2)
    if layer.kernel == "correlate":
        depth = 64 if sixteen_bit else 32 if not exact else 16
        pixels = 64 if layer.small or exact else 128
        flat = layer.kind == "flat"
        return Tiles(
            pixels=pixels,
            pairs=power_of_two(pairs, 16, 32 if flat else depth),
            outputs=layer.outputs,
            stages=2 if flat or exact else 3,
            pack=not (flat or layer.small),
        )
    depth = 64 if sixteen_bit else 32
    across = power_of_two(pairs, 16, 32 if exact or layer.kind == "flat" else 64)
    return Tiles(pixels=16 if exact else depth, pairs=across, outputs=min(layer.outputs, 32 if exact else 64),
                 stages=2 if exact else 3)


SHIPPED: dict[tuple[str, str, str], Tiles] = {}
"""Measured tiles by (capability, arithmetic, class); each line says on what."""

def tiles(capability: str, arithmetic: str, layer: Layer, pairs: int) -> Tiles:
    """The tiles for a layer whose channels (or flattened pairs) are `pairs`."""
    key = (capability, arithmetic, str(layer))
    return SHIPPED.get(key) or rule(arithmetic, layer, pairs)

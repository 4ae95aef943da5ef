"""Whether `auto` takes the quicker of native and PyTorch, over random layers: what `hyperconv.ops.cpu_rule` goes by.

    OMP_NUM_THREADS=1 python -m benchmarks.choice [--layers 300] [--seed 0] [--dtype bfloat16] [--memory-format nhwc]
                                                  [--seconds 0.03] [--out choice.md]

Kernels of 1 to 7, strides of 1 and 2, 1 to 512 channels, images of 1 to 64 pixels, up to 64 samples of up to 16 weight
sets, at most 400 million multiplications; bias and leaky ReLU. Results are compared before they are timed.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.environment import describe
from benchmarks.report import publish, table
from benchmarks.wide import quickest
from hyperconv import backends
from hyperconv.activations import LEAKY_RELU
from hyperconv.memory_format import FORMATS
from hyperconv.ops import cpu_rule, native, reference

CHANNELS = (1, 3, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512)
SIDES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
KERNELS = (
    *4 * [(3, 1, 1)],
    *3 * [(3, 2, 1)],
    *2 * [(4, 2, 1)],
    *2 * [(1, 1, 0)],
    (5, 1, 2),
    (7, 1, 3),
    (4, 1, 0),
    (2, 1, 0),
    (2, 2, 0),
    (1, 2, 0),
    (7, 2, 3),
    (5, 2, 2),
)  # side, stride, padding
SETS = (*2 * [(4, 1)], (1, 1), (16, 1), (1, 4), (1, 16), (1, 64), (2, 4))  # weight sets, samples of each
CLOSE = {torch.float32: (1e-3, 1e-4), torch.bfloat16: (3e-2, 2e-2)}  # rtol, and atol over the largest number
MOST_PRODUCTS, MOST_WEIGHTS, MOST_PIXELS = 4e8, 1e7, 6e6
TOLERATED = 1.1


class Layer(NamedTuple):
    channels: int
    out: int
    side: int
    kernel: int
    stride: int
    padding: int
    sets: int
    samples: int

    def __str__(self) -> str:
        return (
            f"{self.channels}->{self.out}, {self.kernel}x{self.kernel}, stride {self.stride}, {self.side}x{self.side}, "
            f"{self.sets} x {self.samples}"
        )

    @property
    def suits(self) -> bool:
        """Whether it is a layer at all, and not too large a one."""
        left = (self.side + 2 * self.padding - self.kernel) // self.stride + 1
        weights, images = self.channels * self.out * self.kernel**2, self.sets * self.samples
        pixels = max(self.channels * self.side**2, self.out * left**2)
        return (
            left > 0
            and weights * left**2 * images <= MOST_PRODUCTS
            and self.sets * weights <= MOST_WEIGHTS
            and images * pixels <= MOST_PIXELS
        )


def layers(count: int, seed: int) -> Iterator[Layer]:
    draw = random.Random(seed)
    while count > 0:
        layer = Layer(
            draw.choice(CHANNELS), draw.choice(CHANNELS), draw.choice(SIDES), *draw.choice(KERNELS), *draw.choice(SETS)
        )
        if layer.suits:
            count -= 1
            yield layer


def calls(layer: Layer, dtype: torch.dtype = torch.float32, memory_format: str = "nchw") -> dict[str, tuple]:
    """The arguments of the operators that a layer's forward and backward pass call."""

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape).to(dtype)
        return values.contiguous(memory_format=FORMATS[memory_format]) if len(shape) == 4 else values

    geometry = ((layer.stride,) * 2, (layer.padding,) * 2, (1, 1), 1)
    images, kernel, size = layer.sets * layer.samples, (layer.kernel,) * 2, (layer.side,) * 2
    x, bias = normal(images, layer.channels, *size), normal(layer.sets, layer.out)
    weight = normal(layer.sets, layer.out, layer.channels, *kernel)
    forward = (x, weight, bias, *geometry, LEAKY_RELU, 0.2)
    y = reference.conv2d(*forward)
    grad = torch.randn_like(y)
    return {
        "conv2d": forward,
        "input_gradient": (grad, weight, y, size, *geometry, 0.2),
        "parameter_gradients": (grad, x, y, layer.sets, kernel, *geometry, 0.2),
    }


def compare(own: Tensor | tuple[Tensor, ...], exact: Tensor | tuple[Tensor, ...]) -> None:
    for a, b in zip(*(result if isinstance(result, tuple) else (result,) for result in (own, exact)), strict=True):
        rtol, atol = CLOSE[b.dtype]
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol * float(b.abs().max()))


class Cell(NamedTuple):
    layer: Layer
    choice: str
    seconds: dict[str, float]  # of native and reference

    @property
    def speed_up(self) -> float:
        """Of what is chosen over PyTorch."""
        return self.seconds["reference"] / self.seconds[self.choice]

    @property
    def lost(self) -> float:
        """Time of what is chosen over that of the quicker one."""
        return self.seconds[self.choice] / min(self.seconds.values())


def measure(count: int, seed: int, budget: float, dtype: torch.dtype, memory_format: str) -> dict[str, list[Cell]]:
    cells: dict[str, list[Cell]] = {}
    for layer in layers(count, seed):
        for name, args in calls(layer, dtype, memory_format).items():
            ways = {way: getattr(module, name) for way, module in (("native", native), ("reference", reference))}
            compare(*(run(*args) for run in ways.values()))
            seconds = {way: quickest(partial(run, *args), budget) for way, run in ways.items()}
            cells.setdefault(name, []).append(Cell(layer, cpu_rule.choice(name, args), seconds))
    return cells


def page(cells: dict[str, list[Cell]]) -> list[str]:
    rows = [
        [
            name,
            str(len(found)),
            str(sum(cell.choice == "native" for cell in found)),
            f"{geometric_mean(cell.speed_up for cell in found):.2f}",
            f"{geometric_mean(cell.seconds['reference'] / cell.seconds['native'] for cell in found):.2f}",
            f"{sum(cell.lost <= TOLERATED for cell in found) / len(found):.0%}",
            f"{geometric_mean(cell.lost for cell in found):.3f}",
        ]
        for name, found in cells.items()
    ]
    header = [
        "operator",
        "calls",
        "to native",
        "times as quick as PyTorch",
        "native alone",
        f"quicker one taken, or within {TOLERATED - 1:.0%}",
        "time lost by the choice",
    ]
    worst = sorted(((cell, name) for name, found in cells.items() for cell in found), key=lambda pair: -pair[0].lost)[
        :12
    ]
    lost = [
        [name, str(cell.layer), cell.choice, *(f"{1e3 * cell.seconds[way]:.3g}" for way in ("native", "reference"))]
        for cell, name in worst
    ]
    return [
        *table(header, rows),
        "The calls that lose most by it, in milliseconds (weight sets x samples of each):",
        "",
        *table(["operator", "layer", "taken", "native", "PyTorch"], lost),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--memory-format", choices=FORMATS, default="nchw")
    parser.add_argument("--seconds", type=float, default=0.03, help="timed seconds per call and backend")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if reason := backends()["native"]["cpu"]:
        raise SystemExit(f"the native kernels do not run here: {reason}")
    torch.manual_seed(options.seed)
    dtype = getattr(torch, options.dtype)
    body = page(measure(options.layers, options.seed, options.seconds, dtype, options.memory_format))
    facts = {"dtype": options.dtype, "memory format": options.memory_format, **describe("cpu")}
    publish("The choice between native kernels and PyTorch over random layers", facts, body, options.out)


if __name__ == "__main__":
    main()

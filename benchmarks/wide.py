"""Native kernels beside PyTorch's ways over layers of many kinds: what `hyperconv.ops.cpu_rule` goes by.

    OMP_NUM_THREADS=1 python -m benchmarks.wide [--seconds 0.25] [--out wide.md]

Per layer and operator how many times quicker the native kernel is than the quickest of grouped convolution (the
reference), a loop over samples and matrix products over unfolded pixels (quickest of many calls), after their results
have been compared. float32, a weight set for every sample.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.environment import describe
from benchmarks.report import publish, table
from hyperconv import backends
from hyperconv.ops import cpu_rule, native, reference

# channels in, out, kernel, stride, pixels, samples
LAYERS = [
    (64, 64, 3, 1, 4, 4),
    (64, 64, 3, 1, 8, 4),
    (64, 64, 3, 1, 16, 4),
    (128, 128, 3, 1, 8, 4),
    (64, 64, 1, 1, 16, 4),
    (64, 64, 5, 1, 16, 4),
    (32, 32, 5, 1, 32, 4),
    (64, 64, 5, 1, 32, 4),
    (32, 32, 7, 1, 32, 4),
    (64, 64, 4, 1, 32, 4),
    (16, 32, 3, 2, 32, 4),
    (64, 128, 3, 2, 16, 4),
    (64, 64, 3, 2, 32, 4),
    (64, 64, 3, 2, 64, 4),
    (32, 32, 3, 2, 128, 2),
    (32, 64, 4, 2, 16, 8),
    (32, 64, 4, 2, 32, 4),
    (64, 128, 4, 2, 16, 4),
    (64, 128, 4, 2, 32, 4),
    (128, 256, 4, 2, 8, 4),
    (64, 64, 4, 2, 64, 4),
    (32, 32, 4, 2, 128, 2),
    (64, 64, 5, 2, 64, 2),
    (3, 64, 4, 2, 64, 4),
    (16, 32, 4, 2, 8, 16),
    (16, 32, 3, 2, 8, 16),
    (16, 16, 4, 2, 8, 16),
    (128, 128, 3, 1, 2, 4),
    (256, 256, 3, 1, 4, 4),
    (512, 512, 3, 1, 4, 2),
    (128, 128, 3, 1, 6, 4),
    (64, 64, 3, 1, 7, 4),
    (256, 256, 3, 1, 8, 4),
    (256, 256, 3, 1, 16, 4),
    (512, 512, 3, 1, 8, 2),
    (512, 512, 3, 1, 16, 2),
    (256, 512, 4, 2, 8, 4),
    (128, 256, 3, 2, 8, 4),
    (64, 128, 3, 2, 10, 4),
    (3, 64, 4, 2, 16, 4),
    (256, 256, 1, 1, 4, 4),
    (512, 512, 1, 1, 1, 16),
    (256, 256, 3, 1, 1, 4),
    (512, 64, 4, 2, 2, 4),
]
OPERATORS = ("conv2d", "input_gradient", "weight_gradient")


def loop(name: str, first: Tensor, second: Tensor, *args) -> Tensor:
    """The operator for one sample after another."""
    samples = [getattr(reference, name)(a, b, *args) for a, b in zip(first.split(1), second.split(1), strict=True)]
    return torch.cat(samples)


def products(
    name: str, first: Tensor, second: Tensor, size: tuple[int, int], kernel: tuple[int, int], *geometry
) -> Tensor:
    """Matrix products over unfolded pixels; `size` is that of the images the kernel reads."""
    stride, padding, dilation, _ = geometry
    window = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if name == "conv2d":
        pixels = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, stride, strict=True)]
        return torch.bmm(second.flatten(2), F.unfold(first, **window)).unflatten(2, pixels)
    if name == "input_gradient":
        return F.fold(torch.bmm(second.flatten(2).mT, first.flatten(2)), size, **window)
    return torch.bmm(first.flatten(2), F.unfold(second, **window).mT).unflatten(2, (second.shape[1], *kernel))


def quickest(call: Callable[[], Tensor], budget: float) -> float:
    """Seconds of the quickest call."""
    best, started, calls = float("inf"), time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - started < budget:
        before = time.perf_counter()
        call()
        best, calls = min(best, time.perf_counter() - before), calls + 1
    return best


def measure(layer: tuple[int, ...], budget: float) -> list[str]:
    """Native's speed-up over the best of PyTorch, and which that is, for every operator."""
    channels, out, kernel, stride, side, samples = layer
    padding = kernel // 2 if kernel % 2 and kernel > 1 else int(kernel > 1)
    geometry = ((stride, stride), (padding, padding), (1, 1), 1)
    size, kernel = (side, side), (kernel, kernel)
    x, weight = torch.randn(samples, channels, *size), torch.randn(samples, out, channels, *kernel)
    grad = torch.randn_like(reference.conv2d(x, weight, None, *geometry, 0, 0.0))
    factors = {"conv2d": (x, weight), "input_gradient": (grad, weight), "weight_gradient": (grad, x)}
    settings = {
        "conv2d": (None, *geometry, 0, 0.0),
        "input_gradient": (None, size, *geometry, 0.0),
        "weight_gradient": (None, samples, kernel, *geometry, 0.0),
    }
    cells = []
    for name in OPERATORS:
        args = (*factors[name], *settings[name])
        one = (None, 1, *settings[name][2:]) if name == "weight_gradient" else settings[name]
        ways = {
            "grouped": lambda n=name, a=args: getattr(reference, n)(*a),
            "loop": lambda n=name, a=(*factors[name], *one): loop(n, *a),
            "unfold": lambda n=name, a=factors[name]: products(n, *a, size, kernel, *geometry),
        }
        own, exact = getattr(native, name), getattr(reference, name)(*args)
        for result in (own(*args), *(way() for way in ways.values())):
            torch.testing.assert_close(result, exact, rtol=1e-3, atol=1e-3 * float(exact.abs().max()))
        seconds = {way: quickest(run, budget) for way, run in ways.items()}
        best = min(seconds, key=seconds.__getitem__)
        cell = f"{seconds[best] / quickest(lambda f=own, a=args: f(*a), budget):.2f} {best}"
        cells.append(cell if cpu_rule.choice(name, args) == "native" else f"*{cell}*")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.25, help="timed seconds per operator and backend")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if reason := backends()["native"]["cpu"]:
        raise SystemExit(f"the native kernels do not run here: {reason}")
    torch.manual_seed(0)
    rows = []
    for layer in LAYERS:
        channels, out, kernel, stride, side, samples = layer
        cells = measure(layer, options.seconds)
        rows.append([f"{channels}->{out}", f"{kernel}x{kernel}", str(stride), f"{side}x{side}", str(samples), *cells])
    header = ["layer", "kernel", "stride", "size", "B", "forward", "input gradient", "weight gradient"]
    about = (
        "Times as quick as the quickest of PyTorch's ways, which is named; in italics where hyperconv takes grouped."
    )
    publish(
        "Native kernels beside PyTorch over layers of many kinds",
        describe("cpu"),
        [about, "", *table(header, rows)],
        options.out,
    )


if __name__ == "__main__":
    main()

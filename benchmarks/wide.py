"""Native kernels beside the reference over wide layers of many kinds: what `hyperconv.ops.cpu_rule` goes by.

    OMP_NUM_THREADS=1 python -m benchmarks.wide [--seconds 0.25] [--out wide.md]

Per layer and operator how many times quicker the native kernel is than the reference (quickest of many calls), after
their results have been compared. float32, a weight set for every sample.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.environment import describe
from benchmarks.report import publish, table
from hyperconv import backends
from hyperconv.ops import native, reference

# channels in, out, kernel, stride, pixels, samples
LAYERS = [
    (64, 64, 3, 1, 4, 4), (64, 64, 3, 1, 8, 4), (64, 64, 3, 1, 16, 4), (128, 128, 3, 1, 8, 4), (64, 64, 1, 1, 16, 4),
    (64, 64, 5, 1, 16, 4), (32, 32, 5, 1, 32, 4), (64, 64, 5, 1, 32, 4), (32, 32, 7, 1, 32, 4), (64, 64, 4, 1, 32, 4),
    (16, 32, 3, 2, 32, 4), (64, 128, 3, 2, 16, 4), (64, 64, 3, 2, 32, 4), (64, 64, 3, 2, 64, 4), (32, 32, 3, 2, 128, 2),
    (32, 64, 4, 2, 16, 8), (32, 64, 4, 2, 32, 4), (64, 128, 4, 2, 16, 4), (64, 128, 4, 2, 32, 4),
    (128, 256, 4, 2, 8, 4), (64, 64, 4, 2, 64, 4), (32, 32, 4, 2, 128, 2), (64, 64, 5, 2, 64, 2),
    (3, 64, 4, 2, 64, 4), (16, 32, 4, 2, 8, 16), (16, 32, 3, 2, 8, 16), (16, 16, 4, 2, 8, 16),
]


def quickest(call: Callable[[], Tensor], budget: float) -> float:
    """Seconds of the quickest call."""
    best, started, calls = float("inf"), time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - started < budget:
        before = time.perf_counter()
        call()
        best, calls = min(best, time.perf_counter() - before), calls + 1
    return best


def measure(layer: tuple[int, ...], budget: float) -> list[float]:
    """Speed-up of native over the reference: forward, input gradient, weight gradient."""
    channels, out, kernel, stride, side, samples = layer
    padding = kernel // 2 if kernel % 2 else 1
    geometry = ((stride, stride), (padding, padding), (1, 1), 1)
    x, weight = torch.randn(samples, channels, side, side), torch.randn(samples, out, channels, kernel, kernel)
    grad = torch.randn_like(reference.conv2d(x, weight, None, *geometry, 0, 0.0))
    calls = {
        "conv2d": (x, weight, None, *geometry, 0, 0.0),
        "input_gradient": (grad, weight, None, (side, side), *geometry, 0.0),
        "weight_gradient": (grad, x, None, samples, (kernel, kernel), *geometry, 0.0),
    }
    ratios = []
    for name, args in calls.items():
        own, other = (getattr(module, name) for module in (native, reference))
        torch.testing.assert_close(own(*args), other(*args), rtol=1e-3, atol=1e-3 * float(other(*args).abs().max()))
        ratios.append(quickest(lambda f=other, a=args: f(*a), budget) / quickest(lambda f=own, a=args: f(*a), budget))
    return ratios


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
        ratios = [f"{ratio:.2f}" for ratio in measure(layer, options.seconds)]
        rows.append([f"{channels}->{out}", f"{kernel}x{kernel}", str(stride), f"{side}x{side}", str(samples), *ratios])
    header = ["layer", "kernel", "stride", "size", "B", "forward", "input gradient", "weight gradient"]
    publish("Native over the reference in wide layers", describe("cpu"), table(header, rows), options.out)


if __name__ == "__main__":
    main()

"""The machine's own limits: how fast it copies and multiplies, and what one launch costs.

    python -m benchmarks.machine [--device cpu|cuda] [--out machine.json]

Figures are bytes per second (copy, bytes read plus bytes written), operations per second (matmul, on random
data) and seconds (launch).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.environment import describe, set_precision
from benchmarks.timing import in_a_graph, rotating
from hyperconv.bench.race import seconds

COPY_BYTES = {"cpu": 256 << 20, "cuda": 4 << 30}
MATMUL_SIDE = {
    "cpu": {"fp32": 1536, "bf16": 2048, "fp64": 1024},
    "cuda": {"fp32": 4096, "tf32": 8192, "bf16": 8192, "fp64": 4096},
}
ROUNDS = 7


def fastest(function: Callable[[], object], device: str, repeats: int = 1) -> float:
    """A limit is what the machine can do: the least of a few rounds, after a warm-up."""
    seconds(function, device, 2)
    return min(seconds(function, device, repeats) for _ in range(ROUNDS))


def copy_bandwidth(device: str) -> float:
    source = torch.randn(COPY_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), device)


def matmul_rate(precision: str, device: str, side: int) -> float:
    dtype = set_precision(precision)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / fastest(lambda: a @ b, device, 3)


def launch_seconds() -> dict[str, float]:
    """One addition to a tensor of one element: called from Python, and replayed from a graph of 100."""
    one = torch.zeros(1, device="cuda")
    add = partial(one.add_, 1)
    replay = in_a_graph([add] * 100)
    return {"launch": fastest(add, "cuda", 1000), "launch_in_graph": fastest(replay, "cuda", 10) / 100}


def cpu_figures() -> dict[str, float]:
    """Per thread count, since a second thread is worth little beside a busy neighbour."""
    most = torch.get_num_threads()
    figures = {}
    for threads in sorted({1, most}):
        torch.set_num_threads(threads)
        suffix = "" if threads == most else f"_{threads}_thread"
        figures[f"copy{suffix}"] = copy_bandwidth("cpu")
        for precision, side in MATMUL_SIDE["cpu"].items():
            if precision == "bf16" and not _multiplies_bfloat16():
                continue  # emulated: minutes, and no limit of the machine
            figures[f"matmul_{precision}{suffix}"] = matmul_rate(precision, "cpu", side)
    one = torch.zeros(1)
    figures["launch"] = fastest(lambda: one.add_(1), "cpu", 1000)
    return figures


def _multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it; True where torch cannot tell."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return supported is None or supported()


def cuda_figures() -> dict[str, float]:
    rates = {f"matmul_{name}": matmul_rate(name, "cuda", side) for name, side in MATMUL_SIDE["cuda"].items()}
    return {"copy": copy_bandwidth("cuda"), **rates, "copy_small": small_copy_bandwidth(), **launch_seconds()}


def small_copy_bandwidth() -> float:
    """16 MB at a time among more buffers than the cache holds: what one layer's tensors see."""
    pairs = [(torch.randn(4 << 20, device="cuda"), torch.empty(4 << 20, device="cuda")) for _ in range(16)]
    copies = [lambda source=source, target=target: target.copy_(source) for source, target in pairs]
    return 2 * pairs[0][0].nbytes / fastest(rotating(copies), "cuda", len(copies))


def readable(name: str, value: float) -> str:
    if name.startswith("launch"):
        return f"{value * 1e6:.2f} us"
    unit, scale = ("GB/s", 1e9) if name.startswith("copy") else ("TFLOP/s", 1e12)
    return f"{value / scale:.3g} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures = cuda_figures() if arguments.device == "cuda" else cpu_figures()
    for name, value in figures.items():
        print(f"{name:24} {readable(name, value)}")
    if arguments.out:
        content = {"environment": describe(arguments.device), "figures": figures}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Threads: how a layer speeds up with them, what a busy neighbour costs, and what workers of a DataLoader reach.

    python -m benchmarks.threads [--seconds 2] [--out threads.md]

Medians, forward and backward, beside grouped convolution. The neighbour is a process that counts in an endless
loop, pinned to the last core. The workers are a DataLoader's, each of which computes the layer for every item.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.environment import describe
from benchmarks.report import publish, table
from hyperconv.bench.layer import Layer, problem
from hyperconv.bench.peers import grouped
from hyperconv.bench.race import Race
from hyperconv.bench.rivals import OURS, hyperconv_layer

LAYERS = [Layer(*channels, size, size, 4) for size in (25, 64) for channels in ((3, 64), (64, 64), (32, 32), (64, 3))]
RIVALS = {OURS: hyperconv_layer, "grouped": grouped}
ITEMS = 60


def _count_for_ever(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        pass


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    neighbour = multiprocessing.get_context("spawn").Process(
        target=_count_for_ever, args=(max(os.sched_getaffinity(0)),), daemon=True
    )
    neighbour.start()
    time.sleep(2)
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.join()


def step(layer: Layer, name: str):
    """One forward and backward pass of a layer, as a function without arguments."""
    tensors = problem(layer, torch.float32, "cpu")

    def run():
        output = RIVALS[name](tensors.input, tensors.weight, tensors.bias)
        return torch.autograd.grad(output, (tensors.input, tensors.weight, tensors.bias), tensors.cotangent)

    return run


def times(layer: Layer, threads: int, budget: float) -> dict[str, float]:
    """Each by itself: OpenMP's threads stay awake on their cores for a while, in the way of whoever comes next."""
    torch.set_num_threads(threads)
    return {name: Race({name: step(layer, name)}, "cpu", budget).run()[name] for name in RIVALS}


class Computed(Dataset):
    """Every item is one forward and backward pass."""

    def __init__(self, layer: Layer, name: str) -> None:
        self.run, self.layer, self.name = None, layer, name

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, index: int) -> int:
        self.run = self.run or step(self.layer, self.name)
        self.run()
        return index


def items_a_second(layer: Layer, name: str, workers: int) -> float:
    """Of `workers` forked after the parent has used its own threads; the time from the first item on."""
    step(layer, name)()
    loader = iter(DataLoader(Computed(layer, name), batch_size=None, num_workers=workers, prefetch_factor=1))
    for _ in range(workers + 1):
        next(loader)
    began, left = time.perf_counter(), len([*loader])
    return left / (time.perf_counter() - began)


def scaling(counts: list[int], budget: float) -> list[list[str]]:
    rows = []
    for layer in LAYERS:
        by_count = {count: times(layer, count, budget) for count in counts}
        with busy_neighbour():
            beside = times(layer, counts[-1], budget)
        for name in RIVALS:
            cells = [f"{by_count[count][name] * 1e3:.3g}" for count in counts]
            speedup = by_count[counts[0]][name] / by_count[counts[-1]][name]
            rows.append([str(layer), name, *cells, f"{speedup:.2f}", f"{beside[name] * 1e3:.3g}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="timed seconds per layer and number of threads")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    most = len(os.sched_getaffinity(0))
    counts = sorted({1, 2, most} & set(range(1, most + 1)))
    header = ["layer", "by", *(f"{count} thread{'s' * (count > 1)}" for count in counts), "speed-up", "busy neighbour"]
    facts = describe("cpu")
    body = ["Milliseconds of forward and backward.", "", *table(header, scaling(counts, options.seconds))]
    torch.set_num_threads(most)
    body += [f"Items a second from workers of a DataLoader, {LAYERS[5]}.", ""]
    rows = [[name, *(f"{items_a_second(LAYERS[5], name, workers):.3g}" for workers in counts)] for name in RIVALS]
    body += table(["by", *(f"{count} worker{'s' * (count > 1)}" for count in counts)], rows)
    publish("Threads", facts, body, options.out)


if __name__ == "__main__":
    main()

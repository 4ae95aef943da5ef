"""The gradient penalty of a critic of five layers in a CUDA graph: replays checked against eager runs, and timed.

    python -m benchmarks.graphs [--device cpu|cuda] [--sides 25 64 128] [--out graphs.json]

On a CPU there are no graphs, and the eager penalty alone is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import hyperconv
from benchmarks.environment import describe
from benchmarks.launches import critic_penalty
from benchmarks.report import table
from hyperconv.bench.layer import Layer, Problem, problem
from hyperconv.bench.peers import grouped
from hyperconv.bench.race import seconds
from hyperconv.bench.rivals import OURS, hyperconv_layer
from hyperconv.kernels.capture import captured

BATCH = 16
TOLERANCE = 1e-4
"""Of a replay beside the eager run of fresh tensors: the same kernels, though cuDNN may sum in another order."""


def on_backend(backend: str, first: Problem, inner: Problem) -> tuple[Tensor, ...]:
    with hyperconv.use_backend(backend):
        return critic_penalty(hyperconv_layer, first, inner)


def ways(device: str) -> dict[str, Callable[[Problem, Problem], tuple[Tensor, ...]]]:
    found = {"grouped": partial(critic_penalty, grouped), OURS: partial(on_backend, "auto")}
    for backend, reasons in hyperconv.backends().items():
        if reasons[device] is None:
            found[f"{OURS}-{backend}"] = partial(on_backend, backend)
    return found


def problems(side: int, batch: int, device: str, seed: int) -> tuple[Problem, Problem]:
    layers = Layer(3, 64, side, side, batch), Layer(64, 64, side, side, batch)
    return tuple(problem(layer, torch.float32, device, seed) for layer in layers)


def worst_error(results: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    pairs = zip(results, expected, strict=True)
    return max(((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in pairs)


def replayed(way: Callable, side: int, batch: int, device: str) -> dict:
    """Capture on one set of tensors, replay with the values of another, compare with the eager run of those."""
    first, inner = problems(side, batch, device, 0)
    graph, results = captured(partial(way, first, inner))
    fresh = problems(side, batch, device, 1)
    with torch.no_grad():
        for static, values in zip((first, inner), fresh, strict=True):
            for tensor, value in zip(static.tensors(), values.tensors(), strict=True):
                tensor.copy_(value)
    graph.replay()
    error = worst_error(results, way(*fresh))
    if not error <= TOLERANCE:
        return {"error": error, "not_timed": f"the replay is off by {error:.1e}"}
    return {"error": error, "graph": median(seconds(graph.replay, device, 5) for _ in range(7))}


def row(name: str, way: Callable, side: int, batch: int, device: str) -> dict:
    """Eager and replayed seconds of one way; one that fails says why."""
    found: dict = {"way": name, "side": side, "batch": batch}
    try:
        call = partial(way, *problems(side, batch, device, 0))
        call()
        found["eager"] = median(seconds(call, device, 2) for _ in range(7))
        if device == "cuda":
            found.update(replayed(way, side, batch, device))
    except Exception as error:  # noqa: BLE001 - the others are still to be measured
        found["not_timed"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return found


def graph_table(rows: list[dict]) -> list[str]:
    header = ["penalty of a critic of five", "px", "B", "eager ms", "graph ms", "replay's error", ""]

    def number(value: float | None, pattern: str, scale: float = 1.0) -> str:
        return "" if value is None else pattern.format(value * scale)

    return table(
        header,
        [
            [
                r["way"],
                str(r["side"]),
                str(r["batch"]),
                number(r.get("eager"), "{:.3g}", 1e3),
                number(r.get("graph"), "{:.3g}", 1e3),
                number(r.get("error"), "{:.1e}"),
                r.get("not_timed", ""),
            ]
            for r in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--sides", type=int, nargs="+", default=[25, 64, 128])
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    facts, rows = describe(options.device), []
    for side in options.sides:
        for name, way in ways(options.device).items():
            rows.append(row(name, way, side, options.batch, options.device))
            if options.out:
                options.out.write_text(json.dumps({"environment": facts, "rows": rows}, indent=1) + "\n")
    print("\n".join(graph_table(rows)))
    raise SystemExit(any("not_timed" in r and r["way"] != "grouped" for r in rows))


if __name__ == "__main__":
    main()

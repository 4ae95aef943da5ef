"""Each operator by each backend on a GPU: what is left of a call when launching costs nothing, for `ops/results.py`.

    python -m benchmarks.gpu_operators [--device cuda] [--workers 8] [--seconds 120] [--out operators.json]

16 samples with weights of their own, 3x3 taps, a leaky ReLU's mask in the gradients; in TF32 and bfloat16, in both memory
formats. Microseconds of a call replayed from a CUDA graph, least of three rounds, on tensors of which two sets take turns;
cuDNN chooses by its own rule. Kernels are compiled first, by several processes. Then the entries that `auto` should go by:
another backend where Triton's kernels lost to it by a seventh in every layer of a class.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import geometric_mean

import torch
from torch import Tensor

from benchmarks.environment import describe
from benchmarks.report import table
from benchmarks.timing import in_a_graph
from hyperconv import backends, kernels
from hyperconv.activations import LEAKY_RELU
from hyperconv.bench.race import seconds
from hyperconv.kernels.arithmetic import ARITHMETICS, products_in
from hyperconv.kernels.workers import Workers
from hyperconv.memory_format import FORMATS
from hyperconv.ops import native, reference
from hyperconv.ops.classes import layer_of, shape_of

SAMPLES, SLOPE = 16, 0.2
LAYERS = (
    (64, 64, 128),
    (3, 64, 128),
    (64, 3, 128),
    (64, 1, 128),
    (32, 32, 128),
    (64, 64, 25),
    (3, 64, 25),
    (64, 3, 25),
    (64, 64, 64),
    (32, 32, 25),
)
"""Channels in and out, and pixels of a side."""
CELLS = tuple(itertools.product(LAYERS, ("tf32", "bfloat16"), FORMATS))
MODULES = {"triton": kernels, "native": native, "reference": reference}
CLEARLY = 1.15
ALSO = {"conv2d": "masked_conv2d", "parameter_gradients": "weight_gradient"}
"""Operators by the same kernel as one that is timed."""

Cell = tuple[tuple[int, int, int], str, str]


def calls(cell: Cell, device: str) -> dict[str, tuple]:
    """Per operator the arguments of a call."""
    (channels, outputs, side), arithmetic, layout = cell

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape, device=device).to(ARITHMETICS[arithmetic])
        return values.contiguous(memory_format=FORMATS[layout]) if len(shape) == 4 else values

    images = [normal(SAMPLES, width, side, side) for width in (channels, outputs, outputs)]
    (x, grad, mask), weight, bias = images, normal(SAMPLES, outputs, channels, 3, 3), normal(SAMPLES, outputs)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    return {
        "conv2d": (x, weight, bias, *geometry, LEAKY_RELU, SLOPE),
        "input_gradient": (grad, weight, mask, [side, side], *geometry, SLOPE),
        "parameter_gradients": (grad, x, mask, SAMPLES, [3, 3], *geometry, SLOPE),
    }


def compiled(device: str, cell: Cell) -> str | None:
    """In a process of its own: Triton's kernels of a cell, into its cache; what went wrong, if anything."""
    try:
        with products_in(cell[1]):
            for operation, arguments in calls(cell, device).items():
                getattr(kernels, operation)(*arguments)
        torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001 -- whatever a compiler raises concerns this cell only
        return f"{type(error).__name__}: {error}"
    return None


def replayed(module: object, operation: str, sets: list[dict], device: str) -> float:
    """Seconds of a call."""
    functions = [partial(getattr(module, operation), *each[operation]) for each in sets]
    if device == "cpu":
        return min(seconds(functions[0], device) for _ in range(3))
    replay = in_a_graph(functions)
    repeats = max(1, min(30, round(2e-3 / seconds(replay, device, 2))))
    return min(seconds(replay, device, repeats) for _ in range(3)) / len(functions)


def measure(cell: Cell, device: str) -> dict:
    """Microseconds by operator and backend, and the operators' classes."""
    names = [name for name in MODULES if backends()[name][device] is None]
    (*channels, side), arithmetic, layout = cell
    row = {
        "layer": "->".join(map(str, channels)),
        "side": side,
        "arithmetic": arithmetic,
        "layout": layout,
        "us": {},
        "class": {},
    }
    with products_in(arithmetic):
        sets = [calls(cell, device) for _ in range(2)]
        for operation, arguments in sets[0].items():
            times = {name: replayed(MODULES[name], operation, sets, device) for name in names}
            row["us"][operation] = {name: round(1e6 * each, 2) for name, each in times.items()}
            row["class"][operation] = str(layer_of(arithmetic, shape_of(operation, arguments)))
    return row


def fastest(rows: list[dict], capability: str) -> list[str]:
    """Lines of FASTEST."""
    gains = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for operation, times in row["us"].items():
            for name in times.keys() - {"triton"} if "triton" in times else ():
                gains[row["arithmetic"], operation, row["class"][operation]][name].append(times["triton"] / times[name])
    lines = []
    for (arithmetic, operation, name), by_backend in sorted(gains.items()):
        gain, backend = max((min(values), backend) for backend, values in by_backend.items())
        for each in (operation, ALSO.get(operation)) if gain > CLEARLY else ():
            lines += [f'    ("{capability}", "{arithmetic}", "{each}", "{name}"): "{backend}",'] if each else []
    return lines


def means(rows: list[dict], beside: str = "reference") -> list[str]:
    """How many times as long as Triton's kernels another backend takes: geometric mean, least and most over the layers."""
    ratios = defaultdict(list)
    for row in rows:
        for operation, times in row["us"].items():
            if beside in times and "triton" in times:
                ratios[row["arithmetic"], row["layout"], operation].append(times[beside] / times["triton"])
    spread = lambda values: f"{geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""
    operations = list(ALSO) + ["input_gradient"]
    formats = sorted({key[:2] for key in ratios})
    lines = [[*key, *(spread(ratios[(*key, operation)]) for operation in operations)] for key in formats]
    whole = spread([ratio for values in ratios.values() for ratio in values])
    return [
        *table(["arithmetic", "layout", *(f"{beside} / triton, {one}" for one in operations)], lines),
        f"All: {whole}",
        "",
    ]


def operator_table(rows: list[dict]) -> list[str]:
    """Microseconds of every operator by every backend, and TFLOP/s of Triton's kernels."""
    lines = []
    for row in rows:
        operations = 2 * 9 * SAMPLES * row["side"] ** 2 * math.prod(map(int, row["layer"].split("->")))
        head = [row["layer"], f"{row['side']}x{row['side']}", row["arithmetic"], row["layout"]]
        lines += [
            [
                *head,
                operation,
                *(f"{times[name]:.4g}" if name in times else "" for name in MODULES),
                *(
                    (f"{times['reference'] / times['triton']:.2f}", f"{operations / times['triton'] / 1e6:.3g}")
                    if "triton" in times
                    else ("", "")
                ),
            ]
            for operation, times in row["us"].items()
        ]
    return table(
        [
            "layer",
            "size",
            "arithmetic",
            "layout",
            "operator",
            *(f"{name}, us" for name in MODULES),
            "reference / triton",
            "triton, TFLOP/s",
        ],
        lines,
    )


def page(rows: list[dict]) -> list[str]:
    """Everything that is said of the times."""
    return [*means(rows), *means(rows, "native"), *operator_table(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=8, help="processes that compile")
    parser.add_argument("--seconds", type=float, default=120, help="begin no layer after that")
    parser.add_argument("--layers", type=int, default=len(LAYERS), help="how many of the layers")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    begun, cells = time.monotonic(), CELLS[: 4 * options.layers]
    if options.device == "cuda":
        workers = Workers(compiled, options.workers)
        for cell, wrong in workers.check(options.device, list(cells), options.seconds / 2).items():
            if wrong:
                print(f"{cell}: {wrong}")
        workers.stop()
    result = {"environment": describe(options.device), "rows": []}
    for cell in cells:
        if time.monotonic() - begun > options.seconds:
            break
        result["rows"].append(measure(cell, options.device))
        if options.out:
            options.out.write_text(json.dumps(result) + "\n")
    print("\n".join(page(result["rows"])))
    if options.device == "cuda":
        capability = "{}.{}".format(*torch.cuda.get_device_capability())
        print("\n".join(["FASTEST = {", *fastest(result["rows"], capability), "}"]))


if __name__ == "__main__":
    main()

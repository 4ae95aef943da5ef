"""bfloat16 on a CPU: native kernels beside PyTorch's grouped convolution, for `hyperconv.ops.results.FASTEST_ON_AMX`.

    OMP_NUM_THREADS=1 python -m benchmarks.low_precision [--seconds 0.25] [--out low_precision.md]

Per wide layer and operator how many times quicker native is than the reference (quickest of many calls), after both
have been compared with float64: native may err at most twice as much. A weight set for every sample; activation and
masks of a leaky ReLU. Where native uses AMX, the entries follow that `auto` should go by: native for a class in which
it lost nowhere. The gradients of weights and biases come in one call, and stand for those of weights alone.
HYPERCONV_CPU_ISA=avx512-bf16 times the kernels by AVX512-BF16's instruction, which are used only where it is set.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import geometric_mean

import torch
from torch import Tensor

from benchmarks.environment import describe
from benchmarks.report import publish, table
from benchmarks.wide import quickest
from hyperconv import backends
from hyperconv.ops import native, reference
from hyperconv.ops.classes import layer_of, shape_of

CHANNELS = ((16, 16), (32, 32), (64, 64), (64, 128), (128, 128))
SIDES = {1: (16, 32, 64, 128, 250), 2: (32, 128)}
OPERATIONS = ("conv2d", "masked_conv2d", "input_gradient", "parameter_gradients")
SAMPLES, SLOPE = 4, 0.2


def arguments(channels: tuple[int, int], side: int, stride: int, channels_last: bool) -> dict[str, tuple]:
    """Per operator the arguments of a call, bfloat16; kernels of 3 x 3, or 4 x 4 at stride 2."""
    kernel, (channels_in, channels_out) = {1: 3, 2: 4}[stride], channels
    geometry = ((stride, stride), (1, 1), (1, 1), 1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    normal = lambda *shape: torch.randn(shape, dtype=torch.bfloat16).contiguous(memory_format=layout)
    x, out = normal(SAMPLES, channels_in, side, side), (side + 2 - kernel) // stride + 1
    weight = torch.randn(SAMPLES, channels_out, channels_in, kernel, kernel) / (kernel * channels_in**0.5)
    weight, bias = weight.bfloat16(), torch.randn(SAMPLES, channels_out).bfloat16()
    grad, mask = (normal(SAMPLES, channels_out, out, out) for _ in range(2))
    return {
        "conv2d": (x, weight, bias, *geometry, 2, SLOPE),
        "masked_conv2d": (x, weight, bias, mask, *geometry, SLOPE),
        "input_gradient": (grad, weight, mask, (side, side), *geometry, SLOPE),
        "parameter_gradients": (grad, x, mask, SAMPLES, (kernel, kernel), *geometry, SLOPE),
    }


def error(output: Tensor | tuple[Tensor, ...], exact: Tensor | tuple[Tensor, ...]) -> float:
    """Root of the mean square, of the first tensor."""
    output, exact = (each[0] if isinstance(each, tuple) else each for each in (output, exact))
    return (output.double() - exact).square().mean().sqrt().item()


def speed_up(operation: str, call: tuple, budget: float) -> float:
    """Of native over the reference; SystemExit where native's result is worse than it may be."""
    own, other = (getattr(module, operation) for module in (native, reference))
    exact = other(*(arg.double() if isinstance(arg, Tensor) else arg for arg in call))
    errors = error(own(*call), exact), error(other(*call), exact)
    if not errors[0] <= 2 * errors[1]:
        raise SystemExit(f"{operation}: native errs by {errors[0]:.2e} and the reference by {errors[1]:.2e}")
    return quickest(lambda: other(*call), budget) / quickest(lambda: own(*call), budget)


def entries(ratios: dict[tuple[str, str], list[float]]) -> list[str]:
    """Lines of FASTEST_ON_AMX; parameter_gradients stand for weight_gradient too."""
    lines = []
    for (operation, layer), values in ratios.items():
        names = (operation, "weight_gradient") if operation == "parameter_gradients" else (operation,)
        winner = "native" if min(values) >= 1 else "reference"
        lines += [f'    ("{name}", "{layer}"): "{winner}",' for name in names]
    return ["FASTEST_ON_AMX = {", *lines, "}"]


def means(cells: list[tuple[int, str, list[float]]]) -> list[list[str]]:
    """Rows of geometric means over the layers of a stride and layout, per operator and of all."""
    rows = []
    for stride, layout in sorted({(stride, layout) for stride, layout, _ in cells}):
        columns = list(zip(*(ratios for *key, ratios in cells if key == [stride, layout])))
        columns.append([ratio for column in columns for ratio in column])
        rows.append([str(stride), layout, *(f"{geometric_mean(column):.2f}" for column in columns)])
    total = geometric_mean(ratio for *_, ratios in cells for ratio in ratios)
    return [*rows, ["all", "", *[""] * len(OPERATIONS), f"{total:.2f}"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.25, help="timed seconds per operator and backend")
    parser.add_argument("--most", type=float, default=8e9, help="operations of the largest forward pass that is timed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if reason := backends()["native"]["cpu"]:
        raise SystemExit(f"the native kernels do not run here: {reason}")
    torch.manual_seed(0)
    rows, every, by_class, instruction_set = [], [], {}, native.instruction_set()[0]
    layers = [
        (channels, side, stride, last)
        for stride, sides in SIDES.items()
        for side in sides
        for channels in CHANNELS
        for last in (False, True)
        if 2 * SAMPLES * side**2 * channels[0] * channels[1] * (9 if stride == 1 else 4) <= options.most
    ]
    for channels, side, stride, last in layers:
        ratios, layout = [], "nhwc" if last else "nchw"
        for operation, call in arguments(channels, side, stride, last).items():
            ratio = speed_up(operation, call, options.seconds)
            layer = str(layer_of("bfloat16", shape_of(operation, call)))
            by_class.setdefault((operation, layer), []).append(ratio)
            ratios.append(ratio)
        every.append((stride, layout, ratios))
        rows.append(
            [f"{channels[0]}->{channels[1]}", str(stride), f"{side}x{side}", layout, *(f"{r:.2f}" for r in ratios)]
        )
    facts = {**describe("cpu"), "native uses": instruction_set, "AMX": native.why_no_amx() or "present"}
    body = ["Geometric means:", "", *table(["stride", "layout", *OPERATIONS, "all"], means(every))]
    body += table(["layer", "stride", "size", "layout", *OPERATIONS], rows)
    if instruction_set == "amx":
        body += ["", "```python", *entries(by_class), "```"]
    publish("bfloat16: native over PyTorch's grouped convolution", facts, body, options.out)


if __name__ == "__main__":
    main()

"""What a call costs before any kernel runs: host time per operator call, on tensors too small to matter.

    python -m benchmarks.overhead [--device cpu|cuda] [--calls 2000] [--out overhead.json]

The host's clock, with nothing waited for in between. One plain addition beside it says what PyTorch itself takes. Off
the GPU, the Triton plans are rehearsed: planned, looked up and allocated for as in any call, and sent nowhere.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

import hyperconv
from benchmarks.environment import describe
from benchmarks.report import table
from hyperconv.activations import LEAKY_RELU

SETS, CHANNELS, SIDE = 4, 4, 4
GEOMETRY = ([1, 1], [1, 1], [1, 1], 1)
SLOPE = 0.02
BATCHES = 9


def tensors(device: str) -> dict[str, Tensor]:
    make = partial(torch.randn, device=device)
    image = (SETS, CHANNELS, SIDE, SIDE)
    return {
        "input": make(image),
        "weight": make(SETS, CHANNELS, CHANNELS, 3, 3),
        "bias": make(SETS, CHANNELS),
        "grad": make(image),
        "mask": make(image),
    }


def operators(module: object, t: dict[str, Tensor]) -> dict[str, Callable[[], object]]:
    """One call of each operator of a family: the public one, or a backend's own."""
    sums = (t["grad"], t["input"], t["mask"], SETS, [3, 3], *GEOMETRY, SLOPE)
    arguments = {
        "conv2d": (t["input"], t["weight"], t["bias"], *GEOMETRY, LEAKY_RELU, SLOPE),
        "masked_conv2d": (t["input"], t["weight"], t["bias"], t["mask"], *GEOMETRY, SLOPE),
        "input_gradient": (t["grad"], t["weight"], t["mask"], [SIDE, SIDE], *GEOMETRY, SLOPE),
        "weight_gradient": sums,
        "parameter_gradients": sums,
        "bias_gradient": (t["grad"], t["mask"], SETS, SLOPE),
    }
    return {name: partial(getattr(module, name), *values) for name, values in arguments.items()}


def grouped(t: dict[str, Tensor]) -> Tensor:
    output = F.conv2d(
        t["input"].view(1, SETS * CHANNELS, SIDE, SIDE),
        t["weight"].view(-1, CHANNELS, 3, 3),
        t["bias"].view(-1),
        padding=1,
        groups=SETS,
    )
    return F.leaky_relu(output.view(SETS, CHANNELS, SIDE, SIDE), SLOPE)


def layer(t: dict[str, Tensor]) -> Tensor:
    """The public function, with its checks of all arguments."""
    return hyperconv.hyper_conv2d(
        t["input"], t["weight"], t["bias"], padding=1, activation="leaky_relu", negative_slope=SLOPE
    )


def recorded(forward: Callable[[dict], Tensor], t: dict[str, Tensor]) -> Callable[[], Tensor]:
    """A call whose derivative is remembered and not taken."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in t.items()}
    return partial(forward, leaves)


def with_backward(forward: Callable[[dict], Tensor], t: dict[str, Tensor]) -> object:
    inputs = [t[name].detach().requires_grad_() for name in ("input", "weight", "bias")]
    output = forward({**t, **dict(zip(("input", "weight", "bias"), inputs, strict=True))})
    return torch.autograd.grad(output, inputs, t["grad"])


def microseconds(call: Callable[[], object], device: str, calls: int) -> float:
    """Median host time of one call; what was sent off is waited for outside of the clock."""
    for _ in range(20):
        call()
    samples = []
    for _ in range(BATCHES):
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(calls // BATCHES):
            call()
        samples.append((time.perf_counter() - begun) / (calls // BATCHES))
    return 1e6 * median(samples)


@contextlib.contextmanager
def triton_operators(device: str) -> Iterator[object | None]:
    """The Triton kernels' own operators; off the GPU in rehearsal. None where Triton is absent."""
    if device == "cuda" and hyperconv.backends()["triton"]["cuda"] is not None:
        yield None
        return
    try:
        from hyperconv.kernels import launch, operations
    except ImportError:
        yield None
        return
    with contextlib.nullcontext() if device == "cuda" else launch.rehearse("9.0"):
        yield operations


def measure(device: str, calls: int) -> list[dict]:
    t = tensors(device)
    one = torch.zeros(1, device=device)
    layers = {"one addition": partial(one.add_, 1), "grouped conv2d": partial(grouped, t)}
    layers["grouped conv2d, recorded"] = recorded(grouped, t)
    layers["grouped conv2d, forward and backward"] = partial(with_backward, grouped, t)
    rows = [{"call": name, "by": "PyTorch", "us": microseconds(call, device, calls)} for name, call in layers.items()]
    ours = {
        "hyper_conv2d": partial(layer, t),
        "hyper_conv2d, recorded": recorded(layer, t),
        "hyper_conv2d, forward and backward": partial(with_backward, layer, t),
    }
    for backend, reasons in {"auto": {device: None}, **hyperconv.backends()}.items():
        if reasons[device] is None and not (device == "cpu" and backend == "triton"):  # interpreted
            with hyperconv.use_backend(backend):
                public = operators(torch.ops.hyperconv, t)
                rows += [
                    {"call": name, "by": backend, "us": microseconds(call, device, calls)}
                    for name, call in {**ours, **public}.items()
                ]
    if device == "cpu" and hyperconv.backends()["native"]["cpu"] is None:
        rows += [
            {"call": name, "by": "native's kernel", "us": microseconds(call, device, calls)}
            for name, call in operators(torch.ops.hyperconv_native, t).items()
        ]
    with triton_operators(device) as module:
        for name, call in operators(module, t).items() if module else ():
            rows.append({"call": name, "by": "kernels alone", "us": microseconds(call, device, calls)})
    return rows


def overhead_table(rows: list[dict]) -> list[str]:
    return table(["call", "by", "host us"], [[r["call"], r["by"], f"{r['us']:.1f}"] for r in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = measure(options.device, max(BATCHES, options.calls))
    print("\n".join(overhead_table(rows)))
    if options.out:
        options.out.write_text(json.dumps({"environment": describe(options.device), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How much is launched, and where a step's time goes.

    python -m benchmarks.launches [--device cpu|cuda] [--batch 16] [--scales 0 1 2] [--out launches.json]

Two tables. How many kernels (GPU) or convolution calls (CPU) one gradient penalty takes as the batch grows,
for one layer and for a critic of five. And the shares of the published training step (plain PyTorch) at every
scale: weight generation, convolutions, gradient penalty, optimizer and, on a GPU, the time in which nothing
runs; this package's step beside it, as a whole.
"""

from __future__ import annotations

import argparse
import bisect
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.environment import describe
from benchmarks.plain_step import HyperNetwork, PlainStep, Weights
from benchmarks.report import table
from benchmarks.step import go_to_scale, trainer
from hyperconv.bench.layer import Layer, Problem, problem
from hyperconv.bench.peers import PEERS, Apply
from hyperconv.bench.phases import penalty
from hyperconv.bench.race import seconds
from hyperconv.bench.rivals import OURS, hyperconv_layer
from hyperconv.gan.trainer import Trainer

CONVOLUTIONS = ("aten::convolution", "aten::convolution_backward", "hyperconv_native::")
PARTS = ("hypernetwork", "convolutions", "penalty", "optimizer")
BATCHES = {"cpu": (1, 4, 16), "cuda": (1, 4, 16, 64)}
SIDE = 64
DEPTH = 5


def profiled(function: Callable[[], object], device: str) -> list:
    """The profiler's events of one call, after a warm-up."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    function()
    with profile(activities=activities) as profiler:
        function()
        if device == "cuda":
            torch.cuda.synchronize()
    return list(profiler.events())


def kernels(events: list) -> list:
    """What ran on the GPU: kernels, copies and fills, without the shadows of the host's named ranges."""
    ranges = {e.name for e in events if e.device_type == DeviceType.CPU}
    return [e for e in events if e.device_type == DeviceType.CUDA and e.name not in ranges]


def launched(events: list, device: str) -> int:
    """Kernels on a GPU; on a CPU calls of a convolution, its backward, or one of this package's kernels."""
    if device == "cuda":
        return len(kernels(events))
    return sum(e.name in CONVOLUTIONS[:2] or e.name.startswith(CONVOLUTIONS[2:]) for e in events)


def critic_penalty(apply: Apply, first: Problem, inner: Problem) -> tuple[Tensor, ...]:
    """Gradients of a penalty by the weights of a critic of five layers: `first`, then four of `inner`."""
    x = apply(first.input, first.weight, first.bias)
    for _ in range(DEPTH - 1):
        x = apply(x, inner.weight, inner.bias)
    (slope,) = torch.autograd.grad(x, first.input, torch.ones_like(x), create_graph=True)
    value = (slope.norm(2, dim=1) - 1).square().mean()
    return torch.autograd.grad(value, (first.weight, inner.weight))


def penalty_launches(device: str) -> list[dict]:
    rows = []
    for name, apply in {**PEERS, OURS: hyperconv_layer}.items():
        for batch in BATCHES[device]:
            first = problem(Layer(3, 64, SIDE, SIDE, batch), torch.float32, device)
            inner = problem(Layer(64, 64, SIDE, SIDE, batch), torch.float32, device)
            rows.append(
                {
                    "rival": name,
                    "batch": batch,
                    "layer": launched(profiled(partial(penalty, apply, inner), device), device),
                    "critic": launched(profiled(partial(critic_penalty, apply, first, inner), device), device),
                }
            )
    return rows


class RangedStep(PlainStep):
    """The plain step with its parts named for the profiler.

    Each backward is cut at the generated weights: first the nets that use them, then, from their gradients,
    the hypernetwork; the same kernels run as in one piece.
    """

    part = "convolutions"
    cuts: list[tuple[Tensor, Tensor]]

    def step(self) -> dict[str, Tensor]:
        self.cuts = []
        return super().step()

    def generate(self, network: HyperNetwork) -> list[Weights]:
        with record_function("hypernetwork"):
            scales = super().generate(network)
        return [[(self.cut(weight), self.cut(bias)) for weight, bias in own] for own in scales]

    def cut(self, generated: Tensor) -> Tensor:
        leaf = generated.detach().requires_grad_()
        self.cuts.append((generated, leaf))
        return leaf

    def penalty(self, fake: Tensor) -> Tensor:
        self.part = "penalty"
        with record_function("penalty"):
            value = super().penalty(fake)
        self.part = "convolutions"
        return value

    def backward(self, loss: Tensor) -> None:
        with record_function(self.part):
            loss.backward()
        reached = [(generated, leaf.grad) for generated, leaf in self.cuts if leaf.grad is not None]
        self.cuts = [(generated, leaf) for generated, leaf in self.cuts if leaf.grad is None]
        with record_function("hypernetwork"):
            torch.autograd.backward(*zip(*reached))

    def update(self, network: HyperNetwork) -> None:
        with record_function("optimizer"):
            super().update(network)


def part_seconds(events: list, device: str) -> Counter:
    """Seconds of each part: GPU time of the kernels launched in it, or CPU time spent in it."""
    ranges = sorted(
        (e.time_range.start, e.time_range.end, e.name)
        for e in events
        if e.name in PARTS and e.device_type == DeviceType.CPU
    )
    starts = [start for start, _, _ in ranges]
    totals: Counter = Counter()
    for event in events:
        if event.device_type != DeviceType.CPU:
            continue
        now = event.time_range.start
        around = [r for r in ranges[: bisect.bisect_right(starts, now)] if r[1] >= now]
        part = around[-1][2] if around else "convolutions"
        gpu_time = sum(k.duration for k in event.kernels if k.name != event.name)  # a range casts its own shadow
        totals[part] += (gpu_time if device == "cuda" else event.self_cpu_time_total) / 1e6
    return totals


def plain_row(device: str, batch: int, scale: int) -> dict:
    """The plain step at one scale: what it launches, and the shares of its time."""
    wall = steady_seconds(PlainStep(scale, batch, device).step, device)
    events = profiled(RangedStep(scale, batch, device).step, device)
    parts = part_seconds(events, device)
    whole = max(wall, sum(parts.values())) if device == "cuda" else sum(parts.values())
    shares = {part: parts[part] / whole for part in PARTS}
    if device == "cuda":
        shares["idle"] = 1 - sum(parts.values()) / whole
    return {
        "rival": "plain",
        "scale": scale,
        "seconds": wall,
        "launched": launched(events, device),
        "shares": shares,
    }


def own_row(own: Trainer, device: str, scale: int) -> dict:
    """This package's step at the same scale, as a whole."""
    go_to_scale(own, scale)
    wall = steady_seconds(own.take_step, device)
    events = profiled(own.take_step, device)
    busy = sum(kernel.time_range.elapsed_us() for kernel in kernels(events)) / 1e6
    shares = {"idle": max(0.0, 1 - busy / wall)} if device == "cuda" else {}
    return {
        "rival": OURS,
        "scale": scale,
        "seconds": wall,
        "launched": launched(events, device),
        "shares": shares,
    }


def steady_seconds(step: Callable[[], object], device: str) -> float:
    """Median seconds of a step without the profiler, after a warm-up."""
    step()
    return median(seconds(step, device) for _ in range(3))


def penalty_table(rows: list[dict], device: str) -> list[str]:
    unit = "kernels" if device == "cuda" else "convolution calls"
    header = ["one gradient penalty", "B", f"{unit}, one 64->64 layer", f"{unit}, critic of five"]
    return table(header, [[r["rival"], str(r["batch"]), str(r["layer"]), str(r["critic"])] for r in rows])


def share_table(rows: list[dict], device: str) -> list[str]:
    names = [*PARTS, "idle"] if device == "cuda" else list(PARTS)
    header = ["step", "scale", "seconds", "kernels" if device == "cuda" else "convolution calls", *names]
    return table(
        header,
        [
            [
                r["rival"],
                str(r["scale"]),
                f"{r['seconds']:.3g}",
                str(r["launched"]),
                *(f"{r['shares'][name]:.0%}" if name in r["shares"] else "" for name in names),
            ]
            for r in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scales", type=int, nargs="*", default=list(range(7)))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = arguments.device
    result = {
        "environment": describe(device),
        "penalty": penalty_launches(device),
        "batch": arguments.batch,
        "steps": [],
    }
    print("\n".join(penalty_table(result["penalty"], device)))
    with tempfile.TemporaryDirectory() as folder:
        own = trainer(Path(folder) / "run", arguments.batch, device, "every scale")
        for scale in sorted(arguments.scales):
            result["steps"] += [plain_row(device, arguments.batch, scale), own_row(own, device, scale)]
            if arguments.out:
                arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(share_table(result["steps"], device)))


if __name__ == "__main__":
    main()

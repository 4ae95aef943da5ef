"""How much is launched, and where a step's time goes.

    python -m benchmarks.launches [--device cpu|cuda] [--batch 16] [--scales 0 1 2] [--out launches.json]

Two tables. How many kernels (GPU) or convolution calls (CPU) one gradient penalty takes as the batch grows, for
one layer and for a critic of five. And the shares of a plain-PyTorch training step per scale: weight generation,
convolutions, gradient penalty, optimizer and, on a GPU, the time in which nothing runs.
"""

from __future__ import annotations

import argparse
import bisect
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.environment import describe
from benchmarks.layers import Layer, problem
from benchmarks.peers import PEERS, Apply
from benchmarks.phases import penalty
from benchmarks.plain_step import HyperNetwork, PlainStep, Weights
from benchmarks.report import table
from benchmarks.rivals import OURS, hyperconv_layer
from benchmarks.timing import seconds

CONVOLUTIONS = ("aten::convolution", "aten::convolution_backward", "hyperconv_native::", "hyperconv_triton::")
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
    """What ran on the GPU: kernels, copies and fills, without the shadows of named ranges."""
    return [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]


def launched(events: list, device: str) -> int:
    """Kernels on a GPU; on a CPU calls of a convolution, its backward, or one of this package's kernels."""
    if device == "cuda":
        return len(kernels(events))
    return sum(e.name in CONVOLUTIONS[:2] or e.name.startswith(CONVOLUTIONS[2:]) for e in events)


def five_layers(apply: Apply, hidden: Tensor, bias: Tensor, input: Tensor, weight: Tensor, first_bias: Tensor):
    """A critic's stack: the layer, then four of 64->64 on it."""
    x = apply(input, weight, first_bias)
    for _ in range(DEPTH - 1):
        x = apply(x, hidden, bias)
    return x


def penalty_launches(device: str) -> list[dict]:
    rows = []
    for name, apply in {**PEERS, OURS: hyperconv_layer}.items():
        for batch in BATCHES[device]:
            first = problem(Layer(3, 64, SIDE, SIDE, batch), torch.float32, device)
            inner = problem(Layer(64, 64, SIDE, SIDE, batch), torch.float32, device)
            critic = partial(five_layers, apply, inner.weight, inner.bias)
            rows.append({
                "rival": name,
                "batch": batch,
                "layer": launched(profiled(partial(penalty, apply, inner), device), device),
                "critic": launched(profiled(partial(penalty, critic, first), device), device),
            })
    return rows


class RangedStep(PlainStep):
    """The plain step with its parts named for the profiler.

    Each backward is cut at the generated weights: first the nets that use them, then, from their gradients, the
    hypernetwork; the same kernels run as in one piece.
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
        for e in events if e.name in PARTS and e.device_type == DeviceType.CPU
    )
    starts = [start for start, _, _ in ranges]
    totals: Counter = Counter()
    for event in events:
        if event.device_type != DeviceType.CPU or (event.name in PARTS and device == "cuda"):
            continue
        now = event.time_range.start
        around = [r for r in ranges[: bisect.bisect_right(starts, now)] if r[1] >= now]
        part = around[-1][2] if around else "convolutions"
        spent = sum(k.duration for k in event.kernels) if device == "cuda" else event.self_cpu_time_total
        totals[part] += spent / 1e6
    return totals


def step_shares(device: str, batch: int, scale: int) -> dict:
    """Shares of the plain step's wall time at one scale, and how much it launches."""
    plain = PlainStep(scale, batch, device)
    seconds(plain.step, device)
    wall = sorted(seconds(plain.step, device) for _ in range(3))[1]
    del plain
    events = profiled(RangedStep(scale, batch, device).step, device)
    parts = part_seconds(events, device)
    busy = sum(parts.values())
    whole = max(wall, busy) if device == "cuda" else busy
    shares = {part: parts[part] / whole for part in PARTS}
    if device == "cuda":
        shares["idle"] = 1 - busy / whole
    return {"scale": scale, "batch": batch, "seconds": wall, "launched": launched(events, device), "shares": shares}


def penalty_table(rows: list[dict], device: str) -> list[str]:
    unit = "kernels" if device == "cuda" else "convolution calls"
    header = ["one gradient penalty", "B", f"{unit}, one 64->64 layer", f"{unit}, critic of five"]
    return table(header, [[r["rival"], str(r["batch"]), str(r["layer"]), str(r["critic"])] for r in rows])


def share_table(rows: list[dict]) -> list[str]:
    names = list(rows[0]["shares"])
    header = ["plain step, scale", "B", "seconds", "launched", *names]
    return table(header, [
        [str(r["scale"]), str(r["batch"]), f"{r['seconds']:.3g}", str(r["launched"]),
         *(f"{r['shares'][name]:.0%}" for name in names)]
        for r in rows
    ])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scales", type=int, nargs="*", default=list(range(7)))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = arguments.device
    result = {"environment": describe(device), "penalty": penalty_launches(device), "steps": []}
    print("\n".join(penalty_table(result["penalty"], device)))
    for scale in arguments.scales:
        result["steps"].append(step_shares(device, arguments.batch, scale))
        if arguments.out:
            arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if result["steps"]:
        print("\n".join(share_table(result["steps"])))


if __name__ == "__main__":
    main()

"""`hyperconv bench`: how much quicker than PyTorch's own ways a layer is on this machine."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import geometric_mean
from typing import Annotated

import torch
import typer

from hyperconv.apps.model import resolve_device
from hyperconv.bench.compare import Comparison, compare
from hyperconv.bench.layer import Layer
from hyperconv.bench.peers import PEERS
from hyperconv.bench.phases import PHASES
from hyperconv.bench.rivals import OURS
from hyperconv.cli.options import Device, Dtype, parse_layer
from hyperconv.errors import InputError
from hyperconv.files import replacing
from hyperconv.heap import keep_freed_memory
from hyperconv.ops.selftest import environment

LAYERS = ["3:64", "64:64", "64:3"]
RIVALS = (OURS, *PEERS)
_LINE = "{:<12} {:<10}" + " {:>10}" * len(RIVALS) + "  {}"


def bench(
    layers: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN:OUT", help=f"Channels in and out of each layer (default: {' '.join(LAYERS)})."),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="PIXELS", help="Of the input: a side, or height x width, for example 128x192.")
    ] = "64",
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="SAMPLES", help="Samples of a batch, each with weights of its own.")
    ] = 4,
    kernel: Annotated[int, typer.Option(min=1, metavar="TAPS", help="Side of the kernels.")] = 3,
    stride: Annotated[int, typer.Option(min=1, metavar="PIXELS", help="Of the kernels.")] = 1,
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="tf32 is float32 as PyTorch takes it by default on a GPU (default: float32, on a GPU tf32)."),
    ] = None,
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(min=0.01, metavar="SECONDS", help="To time each phase of a layer.")] = 0.5,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write it all to FILE too.")] = None,
) -> None:
    """Race a layer on this machine against every way to do it in PyTorch alone.

    These are grouped convolution, torch.func.vmap, a loop over samples, and
    unfold with a batched matrix product; the phases are forward, forward with
    backward, and the double backward of a gradient penalty. Every result is
    checked beside float64 before anything is timed. It prints milliseconds of
    a call, and how many times as quick this package is as the best of the
    others. OMP_NUM_THREADS says how many threads all of them have.

    \b
    Examples:
      hyperconv bench
      hyperconv bench 64:128 128:128 --size 32 --batch-size 16
      hyperconv bench 3:64 --size 256x384 --kernel 4 --stride 2
      hyperconv bench --device cuda --dtype bfloat16 --json bench.json
    """
    where = resolve_device(device)
    arithmetic = dtype.value if dtype else {"cuda": "tf32"}.get(where.type, "float32")
    if arithmetic == "tf32" and where.type != "cuda":
        raise InputError(f"--dtype tf32 is an arithmetic of GPUs, and this is {where}; take float32")
    chosen = [Layer(*parse_layer(layer), *parse_sides(size), batch_size, kernel, stride) for layer in layers or LAYERS]
    if min(chosen[0].output_size) < 1:
        raise InputError(f"--kernel {kernel} does not fit into --size {size}: take a smaller one, or larger images")
    keep_freed_memory()  # as in training, for all rivals alike
    facts = {**environment(), "threads": str(torch.get_num_threads())}
    for label, text in facts.items():
        print(f"{label:<12} {text}")
    print(f"\n{describe(chosen[0], arithmetic, where)}\n{_LINE.format('layer', 'phase', *RIVALS, 'times')}")
    done: list[Comparison] = []
    try:
        for layer in chosen:
            for found in compare(layer, arithmetic, where, seconds):
                print(line(found), flush=True)
                done.append(found)
    finally:  # an interrupted run has measured something too
        if json_file is not None:
            write(json_file, facts, arithmetic, where, done)
    print("\n" + "\n".join(summary(done)))
    if any(OURS in found.wrong for found in done):
        raise typer.Exit(1)


def parse_sides(text: str) -> tuple[int, int]:
    """'64' -> (64, 64), '128x192' -> (128, 192)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() and 0 < int(side) < 2**16 for side in sides):
        raise InputError(f"--size {text!r} is not a size; write a side or height x width, for example 64 or 128x192")
    return int(sides[0]), int(sides[-1])


def describe(layer: Layer, arithmetic: str, device: torch.device) -> str:
    return (
        f"{layer.batch} samples of {layer.height}x{layer.width} pixels, each with its own {layer.kernel}x{layer.kernel} "
        f"weights, stride {layer.stride}; {arithmetic} on {device}; milliseconds of a call"
    )


def line(found: Comparison) -> str:
    """Milliseconds of every rival, '-' for one that is wrong or cannot run here."""
    times = [f"{1e3 * found.seconds[name]:.3f}" if name in found.seconds else "-" for name in RIVALS]
    gain = "" if found.speed_up is None else f"{found.speed_up:.2f} ({found.best_peer})"
    return _LINE.format(f"{found.layer.in_channels}->{found.layer.out_channels}", found.phase, *times, gain)


def summary(done: list[Comparison]) -> list[str]:
    """The means of each phase, and what is not to be timed and why."""
    gains = defaultdict(list)
    for found in done:
        if found.speed_up is not None:
            gains[found.phase].append(found.speed_up)
    means = [f"{phase} {geometric_mean(gains[phase]):.2f}" for phase in PHASES if phase in gains]
    wrong = [
        f"not timed: {name}, {found.layer.in_channels}->{found.layer.out_channels} {found.phase}: {reason}"
        for found in done
        for name, reason in found.wrong.items()
    ]
    return [f"times as quick as the best of the others, geometric mean: {', '.join(means) or '-'}", *wrong]


def write(file: Path, facts: dict[str, str], arithmetic: str, device: torch.device, done: list[Comparison]) -> None:
    content = {
        "environment": facts,
        "dtype": arithmetic,
        "device": str(device),
        "results": [
            {
                "layer": vars(found.layer),
                "phase": found.phase,
                "seconds": found.seconds,
                "not_timed": found.wrong,
                "times": found.speed_up,
            }
            for found in done
        ],
    }
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")

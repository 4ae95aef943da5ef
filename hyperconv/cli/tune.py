"""`hyperconv tune`: measure this GPU's best tiles for the Triton kernels, once, and remember them."""

from __future__ import annotations

import logging
import os
import time
from typing import Annotated

import torch
import typer
from rich.console import Console

from hyperconv.cli.options import parse_layer
from hyperconv.cli.progress import bars
from hyperconv.errors import InputError
from hyperconv.ops.backends import backends

LAYERS = "64:64,3:64,64:3,64:1,32:32,3:32,32:3,32:1"
SIDES = (128, 25)
"""Pixels of the large and the small images that stand for all."""

LAYOUTS = ("nchw", "nhwc")


def tune(
    budget: Annotated[
        float, typer.Option(min=0.1, metavar="MINUTES", help="Minutes to spend; run it again to go on.")
    ] = 10.0,
    layers: Annotated[
        str, typer.Option(metavar="IN:OUT,…", help="Channels of your 3x3 layers; the first come first.")
    ] = LAYERS,
    dtypes: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Of tf32 (float32 as PyTorch takes it by default), float32 (exact), bfloat16, float16, float64.",
        ),
    ] = "tf32,bfloat16",
    layouts: Annotated[
        str, typer.Option(metavar="NAMES", help="Of nchw (PyTorch's default) and nhwc (channels_last).")
    ] = "nchw",
    batch_size: Annotated[int, typer.Option(min=1, metavar="SAMPLES", help="Samples of a batch.")] = 16,
    again: Annotated[bool, typer.Option("--again", help="Measure what has been measured before, too.")] = False,
    print_shipped: Annotated[
        bool, typer.Option("--print-shipped", help="Also print the lines for the package's own table.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Processes that compile (default: up to 8).")
    ] = None,
) -> None:
    """Measure the quickest tiles of the Triton kernels on this GPU and remember them.

    Every kind of layer starts from the tiles in use and tries others near by;
    each is checked against float64 before it is timed. The result goes to the
    user's cache folder, and every later process on this machine uses it.
    Needs the GPU for itself.

    \b
    Examples:
      hyperconv tune                              ten minutes, the usual layers
      hyperconv tune --budget 60 --again          an hour, from the beginning
      hyperconv tune --layers 48:48 --dtypes bfloat16 --layouts nchw,nhwc
    """
    reason = backends()["triton"]["cuda"]
    if reason is not None:
        raise InputError(f"there is nothing to tune: the Triton kernels do not run on a GPU here ({reason})")
    from hyperconv.kernels import measured
    from hyperconv.kernels.arithmetic import ARITHMETICS
    from hyperconv.kernels.tune import cases_of, fault
    from hyperconv.kernels.tune import tune as measure
    from hyperconv.kernels.workers import Workers

    logging.basicConfig(format="%(message)s")
    cases = cases_of(
        [parse_layer(layer) for layer in layers.split(",")],
        SIDES,
        parse_names("--dtypes", dtypes, ARITHMETICS),
        parse_names("--layouts", layouts, LAYOUTS),
        batch_size,
    )
    pool = Workers(fault, workers or min(8, os.cpu_count() or 1))
    print(f"{torch.cuda.get_device_name()}: {len(cases)} kinds of layers in at most {budget:g} minutes", flush=True)
    findings: dict = {}
    try:
        with bars(Console()) as progress:
            show(progress, measure(cases, 60 * budget, pool.check, again=again), findings, len(cases), 60 * budget)
    finally:
        pool.stop()
        print("\n".join([*table(list(findings.values())), *faults(list(findings.values()))]))
        if print_shipped:
            print("\n".join(shipped_lines(list(findings.values()))))
        print(f"kept in {measured.path()}")
    open_ends = sum(not finding.finished for finding in findings.values()) + len(cases) - len(findings)
    if open_ends:
        print(f"{open_ends} kinds of layers are not finished; run it again to go on")


def parse_names(option: str, text: str, known) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{option} {text!r}: {unknown[0]!r} is none of {', '.join(known)}")
    return names


def show(progress, steps, findings: dict, count: int, seconds: float) -> None:
    """Take all steps, showing which class is at work, how many candidates it has seen, and when it all ends."""
    started, task = time.monotonic(), progress.add_task("starting", total=count)
    for finding in steps:
        findings[finding.case.name] = finding
        finished = sum(known.finished for known in findings.values())
        spent = time.monotonic() - started
        by_pace = spent / finished * (count - finished) if finished else seconds
        left = max(0, min(seconds - spent, by_pace))
        progress.update(
            task,
            completed=finished,
            left=f"{int(left) // 60}:{int(left) % 60:02} left",
            description=f"{finding.case.name}: {len(finding.tried)} tried{gain_of(finding)}",
        )
        if not progress.console.is_terminal:
            line = f"{spent:5.0f} s  {finding.case.name}: {len(finding.tried)} tried{gain_of(finding)}"
            print(line, flush=True)


def gain_of(finding) -> str:
    return f", best {finding.right[finding.best]:.2f} times as quick" if finding.best in finding.right else ""


def tiles_text(tiles) -> str:
    if tiles is None:
        return "none runs"
    sizes = f"{tiles.pixels}x{tiles.pairs}x{tiles.outputs}"
    switches = "".join(f", {word}" for word, on in (("packed", tiles.pack), ("relaid", tiles.relaid)) if on)
    return f"{sizes}, {tiles.warps} warps, {tiles.stages} stages{switches}"


def table(findings: list) -> list[str]:
    """Default beside best of every class; sizes are pixels x pairs x outputs."""
    rows = [("kind of layer", "default", "best", "times as quick", "default's us", "tried", "wrong")]
    for finding in findings:
        gain = finding.right.get(finding.best)
        at_default = finding.seconds if finding.base == finding.default else None
        rows.append(
            (
                finding.case.name,
                tiles_text(finding.default),
                "the same" if finding.best == finding.default else tiles_text(finding.best),
                f"{gain:.2f}" if gain and finding.base == finding.default else "",
                f"{at_default * 1e6:.1f}" if at_default else "",
                str(len(finding.tried)),
                str(len(finding.faults)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def faults(findings: list) -> list[str]:
    """Every candidate that did not compile, did not fit, or was wrong."""
    lines = [
        f"  {finding.case.name}  {tiles_text(tiles)}{' (the default)' * (tiles == finding.default)}: {wrong}"
        for finding in findings
        for tiles, wrong in finding.faults.items()
    ]
    return ["left out:", *lines] if lines else []


def shipped_lines(findings: list) -> list[str]:
    """Lines of `configurations.SHIPPED`, for the classes whose best is not the default."""
    lines = []
    for finding in findings:
        if finding.best is None or finding.best == finding.default:
            continue
        device, capability, triton, _ = finding.case.title().rsplit(", ", 3)
        gain = finding.right[finding.best]
        beside = f"{gain:.2f} times the rule's pace" if finding.base == finding.default else "the rule's do not run"
        key = (capability, finding.case.arithmetic, str(finding.case.layer))
        lines += [f"    # {device}, {triton}: {beside}", f"    {key!r}: {finding.best!r},"]
    return lines

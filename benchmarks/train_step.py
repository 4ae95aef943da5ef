"""Where the time of a training step goes: this package beside the published step in plain PyTorch, part by part.

    python -m benchmarks.train_step [--device cpu|cuda] [--batch 16] [--scales 0 3 6] [--precision fp32 tf32 bf16]
                                    [--seconds 5] [--memory-format nchw|nhwc] [--steps-only] [--out train_step.json]

Both take a batch of photos of 187x250 pixels through one critic and one generator step at the published settings, 16
photos unless --batch says otherwise. Parts: hypernetwork (embeddings, weight generation, and the way back through
both), convolutions (the generated nets), penalty (the gradient penalty and its double backward), optimizer (clipping
and Adam); on a GPU gaps, the share of the time in which nothing runs. A GPU's steps of this package are replayed from a
CUDA graph; their parts are those of the same kernels launched one by one.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.environment import describe
from benchmarks.launches import PARTS, RangedStep, kernels, part_seconds, profiled
from benchmarks.plain_step import SIZES, PlainStep
from benchmarks.report import table
from benchmarks.step import PLAIN, check_losses, go_to_scale
from hyperconv.bench.race import Race
from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.gan.precision import PRECISIONS, arithmetic
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.template import MEMORY_FORMATS
from hyperconv.gan.trainer import Trainer
from hyperconv.memory_format import FORMATS

OURS = "hyperconv"
AS_PUBLISHED = "hyperconv, embedding as published"


def own_trainers(folder: Path, batch: int, device: str, precisions: list[str]) -> dict[tuple[str, str], Trainer]:
    """The package's trainers at the published settings by (name, precision), on `batch` random photos."""
    photos = [Photo(f"photo{i}", torch.rand(3, *SIZES[-1]) * 2 - 1) for i in range(batch)]
    made = {}
    for precision in precisions:
        for name, embedding_trains in ((OURS, "first scale"), (AS_PUBLISHED, "every scale")):
            if name == AS_PUBLISHED and precision != precisions[0]:
                continue
            config = preset("paper", batch_size=batch, embedding_trains=embedding_trains, precision=precision)
            collection = Collection(photos, config.pyramid())
            made[name, precision] = Trainer(Run.create(folder / f"{len(made)}", config, collection), collection, device)
    return made


def in_precision(precision: str, step: Callable) -> Callable:
    """The published step with PyTorch's switches as the package sets them."""

    def call() -> object:
        with arithmetic(precision):
            return step()

    return call


def measure(trainers: dict, scale: int, batch: int, device: str, budget: float, parts: bool = True) -> list[dict]:
    """One row per rival at one scale: seconds of a step, timed in turn, and of its parts if they are asked for."""
    precisions = list(dict.fromkeys("fp32" if p == "fp32" else "tf32" for _, p in trainers))
    steps = {(PLAIN, p): in_precision(p, PlainStep(scale, batch, device).step) for p in precisions}
    for key, trainer in trainers.items():
        go_to_scale(trainer, scale)
        steps[key] = trainer.take_step
    for key, step in steps.items():
        check_losses(f"{key[0]} in {key[1]}", [step() for _ in range(3)][-1])  # the third is captured where that works
    seconds = Race(steps, device, budget, stays=(PLAIN, precisions[0]), left_behind=math.inf).run()
    rows = []
    for (name, precision), step in steps.items():
        trainer = trainers.get((name, precision))
        row = {
            "rival": name,
            "precision": precision,
            "scale": scale,
            "size": SIZES[scale],
            "batch": batch,
            "seconds": seconds[name, precision],
            "parts": {},
        }
        if device == "cuda":
            row["graph"] = trainer is not None and (trainer.compute.reason or "replayed")
        if parts:
            row["parts"] = parts_of(trainer, scale, batch, device, precision)
        if parts and device == "cuda":
            busy = sum(k.time_range.elapsed_us() for k in kernels(profiled(step, device))) / 1e6
            row["parts"]["gaps"] = max(0.0, row["seconds"] - busy)
        rows.append(row)
    return rows


def parts_of(trainer: Trainer | None, scale: int, batch: int, device: str, precision: str) -> dict[str, float]:
    """Seconds of every part of an eager step: of the package's, or of the published one."""
    if trainer is None:
        step = RangedStep(scale, batch, device).step
    else:
        step = partial(trainer.compute.compute, trainer.draws.step(trainer.step))
    with arithmetic(precision):
        totals = part_seconds(profiled(step, device), device)
    return {part: totals[part] for part in PARTS}


def part_table(rows: list[dict]) -> list[str]:
    """Milliseconds of a step and of its parts; how many times the published step of the same float32 takes."""
    parts = [part for part in (*PARTS, "gaps") if all(part in row["parts"] for row in rows)]
    header = ["scale", "size", "B", "step", "precision", "ms", "times", *(f"{part}, ms" for part in parts)]
    plain = {(r["scale"], r["precision"]): r["seconds"] for r in rows if r["rival"] == PLAIN}
    lines = []
    for r in rows:
        beside = plain[r["scale"], "fp32" if r["precision"] == "fp32" else "tf32"]
        lines.append(
            [
                str(r["scale"]),
                "x".join(map(str, r["size"])),
                str(r["batch"]),
                r["rival"],
                r["precision"],
                f"{1e3 * r['seconds']:.4g}",
                f"{beside / r['seconds']:.2f}",
                *(f"{1e3 * r['parts'][part]:.3g}" for part in parts),
            ]
        )
    return table(header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scales", type=int, nargs="+", default=list(range(len(SIZES))))
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="fp32; on a GPU tf32 and bf16")
    parser.add_argument("--seconds", type=float, default=5.0, help="timed seconds per scale")
    parser.add_argument(
        "--memory-format", choices=FORMATS, help="the package's generated nets in that one, not in their own"
    )
    parser.add_argument("--steps-only", action="store_true", help="leave the parts out, which a profiler measures")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.memory_format:
        MEMORY_FORMATS[options.device] = FORMATS[options.memory_format]
    precisions = options.precision or (["fp32"] if options.device == "cpu" else ["tf32", "bf16"])
    memory_format = next(name for name, one in FORMATS.items() if one == MEMORY_FORMATS[options.device])
    result = {"environment": describe(options.device), "memory_format": memory_format, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        trainers = own_trainers(Path(folder), options.batch, options.device, precisions)
        for scale in sorted(options.scales):
            found = measure(trainers, scale, options.batch, options.device, options.seconds, not options.steps_only)
            result["rows"] += found
            if options.out:
                options.out.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(part_table(result["rows"])))


if __name__ == "__main__":
    main()

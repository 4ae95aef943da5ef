"""Photos an hour of ConSinGAN: N GANs side by side in one batch, beside the published way, one photo after another.

    OMP_NUM_THREADS=1 python -m benchmarks.singles [--max-size 128] [--photos 1 4 16] [--stages 0 3 5] [--seconds 5]
                                                   [--device cpu|cuda] [--precision fp32] [--processor-time]
                                                   [--out singles.json]

Seconds of an iteration for each photo, at the published settings (64 channels, three bodies in training) of a photo of
aspect ratio 3:4. Photos an hour is what 2,000 iterations of every stage measured come to; measure all six for that.
Stages that the file OUT has already are not measured again. On a GPU both compute in TF32, cuDNN's way of float32, unless
--precision says otherwise of this package. Whole trainings and their scores: images_per_hour.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

import torch

from benchmarks.environment import describe
from benchmarks.plain_consingan import PlainConSinGAN
from benchmarks.report import table
from benchmarks.step import check_losses, go_to_scale
from hyperconv.bench.race import Race
from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.gan.precision import PRECISIONS
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer

PLAIN = "published, one photo"
ITERATIONS = 2000  # of a stage
PRECISION = {"cpu": "fp32", "cuda": "tf32"}


def trainer_of(folder: Path, photos: int, max_size: int, min_size: int, device: str, precision: str) -> Trainer:
    config = preset("paper", "consingan", max_size=max_size, min_size=min_size, precision=precision)
    height = round(0.75 * max_size)
    given = [Photo(f"photo{i}", torch.rand(3, height, max_size) * 2 - 1) for i in range(photos)]
    collection = Collection(given, config.pyramid())
    return Trainer(Run.create(folder / f"{photos}", config, collection), collection, device)


def measure(trainers: dict[int, Trainer], stage: int, budget: float, clock: str) -> dict:
    """Median seconds of an iteration of one stage, for each photo."""
    steps = {}
    for photos, trainer in trainers.items():
        go_to_scale(trainer, stage)
        steps[f"hyperconv, {photos} side by side"] = trainer.take_step
    trainer = next(iter(trainers.values()))
    collection = trainer.collection
    pyramid = [collection.batch([0], scale).images.to(trainer.device) for scale in range(stage + 1)]
    steps[PLAIN] = PlainConSinGAN(pyramid).step
    for name, step in steps.items():
        check_losses(name, step())
    seconds = Race(steps, clock, budget, stays=PLAIN, left_behind=math.inf).run()
    for photos in trainers:
        seconds[f"hyperconv, {photos} side by side"] /= photos
    return {"stage": stage, "size": collection.sizes[stage][0].tolist(), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-size", type=int, default=128)
    parser.add_argument("--min-size", type=int, default=20, help="short side of the coarsest stage")
    parser.add_argument("--photos", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--stages", type=int, nargs="+", default=list(range(6)))
    parser.add_argument("--seconds", type=float, default=5.0, help="timed seconds per stage")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", choices=PRECISIONS, help="of this package (fp32, on a GPU tf32)")
    parser.add_argument(
        "--processor-time", action="store_true", help="count seconds of the processor, on a busy machine"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clock = "processor" if options.processor_time else options.device
    precision = options.precision or PRECISION[options.device]
    result = {"environment": describe(options.device), "clock": clock, "precision": precision, "stages": []}
    if options.out and options.out.is_file():
        result = json.loads(options.out.read_text())
    known = {stage["stage"] for stage in result["stages"]}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            n: trainer_of(Path(folder), n, options.max_size, options.min_size, options.device, precision)
            for n in options.photos
        }
        for stage in sorted({*options.stages} - known):
            result["stages"].append(measure(trainers, stage, options.seconds, clock))
            if options.out:
                options.out.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(report(result["stages"])))


def report(stages: list[dict]) -> list[str]:
    """A row per stage and rival, and photos an hour over all stages."""
    names = list(stages[0]["seconds"])
    lines = []
    for stage in stages:
        plain, size = stage["seconds"][PLAIN], "x".join(map(str, stage["size"]))
        lines += [
            [
                str(stage["stage"]),
                size,
                name,
                f"{1e3 * stage['seconds'][name]:.4g}",
                f"{plain / stage['seconds'][name]:.2f}",
            ]
            for name in names
        ]
    for name in names:
        total = ITERATIONS * sum(stage["seconds"][name] for stage in stages)
        plain = ITERATIONS * sum(stage["seconds"][PLAIN] for stage in stages)
        lines.append(["all", "", name, f"{3600 / total:.3g} photos an hour", f"{plain / total:.2f}"])
    return table(["stage", "size", "training", "ms an iteration and photo", "times"], lines)


if __name__ == "__main__":
    main()

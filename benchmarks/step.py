"""A whole training step of Meta Internal Learning: this package beside the published step in plain PyTorch.

    python -m benchmarks.step [--device cpu|cuda] [--batch 4] [--scales 0 3 6] [--seconds 10] [--out FILE]

Both take a batch of photos of 187x250 pixels through one critic and one generator step at the published
settings. This package runs twice: with the generator's embedding trained at every scale, as published, and in
its default setting, which trains it at the first scale only and then keeps the photos' contexts. In both,
finished scales are left out of the backward pass, which the published step takes through all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from statistics import geometric_mean

import torch

from benchmarks.environment import describe
from benchmarks.plain_step import SIZES, PlainStep
from benchmarks.report import table
from benchmarks.timing import Race
from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer

PLAIN = "plain PyTorch, as published"
SETTINGS = {"hyperconv, embedding as published": "every scale", "hyperconv": "first scale"}
DEFAULTS = {
    "cpu": {"batch": 4, "scales": [0, 3, 6]},
    "cuda": {"batch": 16, "scales": list(range(len(SIZES)))},
}


def trainer(folder: Path, batch: int, device: str, embedding_trains: str) -> Trainer:
    """The package's own trainer at the published settings, on `batch` random photos."""
    config = preset("paper", batch_size=batch, embedding_trains=embedding_trains)
    photos = [Photo(f"photo{i}", torch.rand(3, *SIZES[-1]) * 2 - 1) for i in range(batch)]
    collection = Collection(photos, config.pyramid())
    assert [tuple(sizes[0].tolist()) for sizes in collection.sizes] == list(SIZES)
    return Trainer(Run.create(folder, config, collection), collection, device)


def go_to_scale(trainer: Trainer, scale: int) -> None:
    """What the training loop does between two scales, without the steps before."""
    while trainer.scale < scale:
        trainer.scale, trainer.step = trainer.scale + 1, 0
        trainer.begin_scale()


def check_losses(name: str, losses: dict[str, torch.Tensor]) -> None:
    """Nothing is timed that does not train."""
    bad = [loss for loss, value in losses.items() if not torch.as_tensor(value).isfinite().all()]
    if bad:
        raise SystemExit(f"{name}: the loss {bad[0]!r} is {losses[bad[0]]}; no time is reported")


def measure(trainers: dict[str, Trainer], scale: int, batch: int, device: str, budget: float) -> dict:
    """Median seconds per step of every rival at one scale, timed in turn."""
    for own in trainers.values():
        go_to_scale(own, scale)
    steps = {
        PLAIN: PlainStep(scale, batch, device).step,
        **{name: own.take_step for name, own in trainers.items()},
    }
    for name, step in steps.items():
        check_losses(name, step())
    race = Race(steps, device, budget, stays=PLAIN, left_behind=math.inf)
    return {
        "scale": scale,
        "batch": batch,
        "size": SIZES[scale],
        "rounds": race.rounds,
        "seconds": race.run(),
    }


def step_table(rows: list[dict]) -> list[str]:
    names = list(rows[0]["seconds"])
    header = [
        "scale",
        "size",
        "B",
        *(f"{name}, s/step" for name in names),
        *(f"{name}, times" for name in names[1:]),
    ]
    lines = []
    for r in rows:
        times = [r["seconds"][name] for name in names]
        lines.append(
            [
                str(r["scale"]),
                "x".join(map(str, r["size"])),
                str(r["batch"]),
                *(f"{time:.4g}" for time in times),
                *(f"{times[0] / time:.2f}" for time in times[1:]),
            ]
        )
    means = [geometric_mean(r["seconds"][names[0]] / r["seconds"][name] for r in rows) for name in names[1:]]
    totals = [sum(r["seconds"][name] for r in rows) for name in names]
    lines.append(["geometric mean", "", "", *[""] * len(names), *(f"{mean:.2f}" for mean in means)])
    lines.append(
        [
            "all scales",
            "",
            "",
            *(f"{total:.4g}" for total in totals),
            *(f"{totals[0] / total:.2f}" for total in totals[1:]),
        ]
    )
    return table(header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda")
    )
    parser.add_argument(
        "--batch", type=int, help="photos per step; 4 on a CPU and 16, as published, on a GPU"
    )
    parser.add_argument("--scales", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0, help="timed seconds per scale")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = arguments.device
    batch = arguments.batch or DEFAULTS[device]["batch"]
    torch.backends.cudnn.benchmark = True
    result = {"environment": describe(device), "steps": []}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: trainer(Path(folder) / str(i), batch, device, embedding_trains)
            for i, (name, embedding_trains) in enumerate(SETTINGS.items())
        }
        for scale in sorted(arguments.scales or DEFAULTS[device]["scales"]):
            result["steps"].append(measure(trainers, scale, batch, device, arguments.seconds))
            if arguments.out:
                arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(step_table(result["steps"])))


if __name__ == "__main__":
    main()

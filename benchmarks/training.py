"""Training in pieces that can be gone on with, and scores of what came out: what the quality benchmarks share."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import torch

from benchmarks.environment import describe
from hyperconv.apps.evaluate import score
from hyperconv.apps.model import Model, resolve_device
from hyperconv.apps.sample import draw, reconstruct
from hyperconv.apps.train import follow, resume, start
from hyperconv.files import replacing
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.presets import PRESETS, Config
from hyperconv.metrics.pixels import reconstruction_rmse

UNFINISHED = 3  # exit code of a script that is to be run again
HELD_OUT_EVERY = 5
SCORES = {"patch_swd": "patch SWD", "coherence": "coherence", "diversity": "diversity", "rmse": "reconstruction RMSE"}


def parser(about: str, *, budget: float, count: int) -> argparse.ArgumentParser:
    """What every comparison of meta-GANs takes on the command line, with these defaults."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, required=True, help="folder of the runs and the report")
    made.add_argument("--preset", default="tiny", choices=list(PRESETS["meta"]))
    made.add_argument("--budget", type=float, default=budget, help="share of the preset's steps (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    made.add_argument("--minutes", type=float, default=10.0, help="until it stops at a checkpoint (default: 10)")
    made.add_argument(
        "--count", type=int, default=count, help="samples of each photo that are scored (default: %(default)s)"
    )
    made.add_argument("--device", default="auto")
    return made


def split(photos: list, fold: int = HELD_OUT_EVERY) -> tuple[list, list]:
    """Photos to train on, and every fifth to hold out, the first of them number `fold` (1 to 5)."""
    held_out = photos[fold - 1 :: HELD_OUT_EVERY]
    return [photo for number, photo in enumerate(photos, 1) if (number - fold) % HELD_OUT_EVERY], held_out


def scaled(config: Config, budget: float) -> Config:
    """The same with a share of the steps."""
    return replace(config, iterations=tuple(max(10, round(budget * each)) for each in config.iterations))


class Deadline:
    """Some minutes from now on."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    @property
    def passed(self) -> bool:
        return time.monotonic() > self.end


def train(
    path: Path, photos: list, config: Config, deadline: Deadline, *, device: str = "auto", checkpoint_every: int = 200
) -> bool:
    """Train a run, new or as far as it is, until the first checkpoint after the deadline; whether that was to the end.

    RUN/seconds.json holds what its steps took, by `clock`.
    """
    if (path / "config.json").is_file():
        trainer = resume(path, device=device)
    else:
        trainer, remarks = start(photos, path, config, device=device)
        print("\n".join(remarks), flush=True)
    if trainer.finished:
        return True
    trainer.checkpoint_every = min(trainer.checkpoint_every, checkpoint_every)
    spent, began = seconds_of(path), clock(trainer.device)
    for taken in follow(trainer):
        if taken.saved:
            with replacing(path / "seconds.json") as file:
                file.write_text(json.dumps(spent + clock(trainer.device) - began))
            print(
                f"{path.name}: {trainer.title(taken.scale)}, step {taken.step}, {100 * trainer.progress:.1f} %",
                flush=True,
            )
        if taken.saved and deadline.passed:
            break
    return trainer.finished


def unfinished() -> NoReturn:
    """Leave, and say that there is more to do."""
    print("to be continued: run the same command again")
    sys.exit(UNFINISHED)


def clock(device: torch.device) -> float:
    """Seconds: of the processor, which a busy neighbour does not change; where a GPU does the work, of the wall."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def seconds_of(path: Path) -> float:
    """What a run's steps up to its last checkpoint took, by `clock`."""
    file = path / "seconds.json"
    return json.loads(file.read_text()) if file.is_file() else 0.0


@torch.no_grad()
def scores(photo_model: PhotoModel, photo: torch.Tensor, count: int) -> dict[str, float]:
    """`SCORES` of `count` samples of the model of one photo, and of its reconstruction."""
    return {**score(draw(photo_model, count), photo), "rmse": reconstruction_rmse(reconstruct(photo_model), photo)}


def scores_of_all(model: Model, count: int, tune_steps: int = 0) -> dict[str, dict[str, float]]:
    """`scores` of every photo by name, each model tuned for some steps per scale first, which took `seconds`."""
    found = {}
    for name in model.names:
        began = clock(model.device)
        photo_model = model.tuned(name, tune_steps)
        found[name] = {"seconds": clock(model.device) - began, **scores(photo_model, model.photo(name), count)}
    return found


def means(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """Of every score over the rows; those that are not numbers are left out."""
    rows = list(rows)
    return {key: statistics.fmean(row[key] for row in rows if row[key] == row[key]) for key in rows[0]}


def machine(device: str) -> str:
    """Where a figure was measured, in a sentence."""
    facts = describe(resolve_device(device).type)
    where = facts.get("gpu") or f"{facts['threads']} thread{'s' * (facts['threads'] > 1)} of {facts['cores']} cores"
    return (
        f"Measured on {facts['date'][:10]} at commit {facts['commit']}: {facts['cpu']} ({facts['cpu_capability']}), "
        f"{where}; Python {facts['python']}, torch {facts['torch']}."
    )

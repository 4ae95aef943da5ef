"""Seconds per photo of a whole training at the published settings, in as many calls as it takes.

    python -m benchmarks.headline FOLDER --run RUN [--seconds 560] [--precision tf32] [--iterations 5000] [--out FILE]

A call trains until it is done or its time is up, then saves; the next one with the same RUN goes on. The seconds of all
calls, loading, building and saving among them, are kept in RUN/headline.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks.environment import describe
from hyperconv.data.collection import Collection
from hyperconv.data.examples import load_examples
from hyperconv.data.images import read_photos
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer

SAVING = 25.0  # seconds kept back for the last checkpoint of a call


def open_trainer(options: argparse.Namespace) -> Trainer:
    """A new run, or the one that an earlier call left behind; one checkpoint per scale."""
    if (options.run / "config.json").is_file():
        run = Run.open(options.run)
        collection = run.collection()
    else:
        config = preset(
            options.preset,
            precision=options.precision,
            iterations=None if options.iterations is None else (options.iterations,),
        )
        photos = load_examples() if options.folder is None else read_photos([options.folder])[0]
        collection = Collection(photos, config.pyramid())
        run = Run.create(options.run, config, collection)
    return Trainer(run, collection, options.device, checkpoint_every=max(run.config.iterations))


def train(trainer: Trainer, end: float) -> None:
    """Until it is done or `end` (of time.monotonic) has come."""
    for progress in trainer.train():
        if progress.losses and progress.step % 500 == 0:
            print(f"scale {progress.scale + 1}, step {progress.step}: {progress.losses}", flush=True)
        if not trainer.finished and time.monotonic() > end:
            if not progress.saved:
                trainer.save()
            return


def main() -> None:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="photos; without it the bundled examples")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--precision", default="tf32")
    parser.add_argument("--iterations", type=int, help="of every scale; the preset's by default")
    parser.add_argument("--seconds", type=float, default=560.0, help="of this call")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    trainer = open_trainer(options)
    train(trainer, begun + options.seconds - SAVING)
    ledger = options.run / "headline.json"
    calls = json.loads(ledger.read_text())["calls"] if ledger.is_file() else []
    config = trainer.config
    calls.append({"scale": trainer.scale, "step": trainer.step, "seconds": time.monotonic() - begun})
    spent, photos = sum(call["seconds"] for call in calls), len(trainer.collection)
    done = sum(map(config.iterations_at, range(trainer.scale))) + trainer.step
    result = {
        "environment": describe(trainer.device.type),
        "photos": photos,
        "scales": config.scale_count,
        "steps": done,
        "all_steps": sum(map(config.iterations_at, range(config.scale_count))),
        "precision": config.precision,
        "finished": trainer.finished,
        "seconds": spent,
        "seconds_per_photo": spent / photos if trainer.finished else None,
        "graph": trainer.compute.reason or "replayed",
        "calls": calls,
    }
    for file in (ledger, options.out):
        if file is not None:
            file.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{done} of {result['all_steps']} steps of {photos} photos in {spent:.0f} s"
        + (f": {spent / photos:.1f} s per photo" if trainer.finished else "; call again to go on")
    )


if __name__ == "__main__":
    main()

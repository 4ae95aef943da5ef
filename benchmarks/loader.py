"""How fast photos come from disk, beside the training steps that wait for them.

    python -m benchmarks.loader [--photos 500] [--preset paper] [--max-size 250] [--steps 4] [--device cpu]
                                [--folder FOLDER] [--out FILE.json]

Photos of many shapes are cut from the bundled ones and written as JPEG files. Then: photos a second on their way into the
run's file of pyramids; batches a second from that file at the finest scale, alone and read ahead, the first time from the
disk where the system lets go of its cache; steps a second of training there, and the share of them spent waiting for
photos; memory that reading took, beside the size of the file; how much of the canvases the photos fill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.environment import describe
from benchmarks.step import go_to_scale
from hyperconv.data.ahead import Ahead
from hyperconv.data.examples import load_examples
from hyperconv.data.images import find_photos, resize, save_png
from hyperconv.data.pyramid_store import PhotoIntake
from hyperconv.gan.memory import peak_bytes
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer


def cut_photos(folder: Path, count: int, long_side: int) -> None:
    """`count` parts of the bundled photos, between 2:1 and 1:2, as files."""
    chance, sources = random.Random(0), load_examples()
    for number in range(count):
        pixels = chance.choice(sources).pixels
        ratio = 2 ** chance.uniform(-1, 1)
        height, width = (round(long_side * min(1, side)) for side in (ratio, 1 / ratio))
        top, left = (chance.randrange(max(1, have - want)) for have, want in zip(pixels.shape[1:], (height, width)))
        part = pixels[:, top : top + height, left : left + width]
        save_png(resize(part, (height, width)), folder / f"{number}.png")


def rate(function: Callable[[int], object], count: int) -> float:
    """Calls a second."""
    began = time.perf_counter()
    for step in range(count):
        function(step)
    return count / (time.perf_counter() - began)


def forget_cached(path: Path) -> None:
    """Ask the system to drop the file from its cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def measure(folder: Path, options: argparse.Namespace) -> dict:
    config = preset(options.preset, max_size=options.max_size)
    (folder / "photos").mkdir(parents=True)
    cut_photos(folder / "photos", options.photos, round(1.2 * config.max_size))
    began = time.perf_counter()
    run = Run.create(
        folder / "run", config, PhotoIntake(find_photos(folder / "photos"), config.pyramid(), config.embedding_size)
    )
    found = Found(photos=options.photos, size=config.max_size, batch=config.batch_size)
    found.note("intake_photos_per_second", options.photos / (time.perf_counter() - began))
    file = run.path / "photos.safetensors"
    found.note("file_bytes", file.stat().st_size)
    trainer = Trainer(run, run.collection(on_disk=True), options.device)
    go_to_scale(trainer, config.scale_count - 1)
    load, count = trainer.draws._load, min(200, 4 * options.photos // config.batch_size)
    before = peak_bytes(torch.device("cpu")) or 0
    forget_cached(file)
    found.note("batches_per_second_first", rate(load, count))
    found.note("batches_per_second_again", rate(load, count))
    found.note("batches_per_second_ahead", rate(Ahead(load, count), count))
    found.note("memory_bytes", (peak_bytes(torch.device("cpu")) or 0) - before)
    found.note("canvas_filled", filled(trainer))
    waited = 0.0

    def watched(step: int) -> object:
        nonlocal waited
        began = time.perf_counter()
        loaded = ahead(step)
        waited += time.perf_counter() - began
        return loaded

    ahead = trainer.draws.load
    trainer.take_step()
    trainer.draws.load, began = watched, time.perf_counter()
    for trainer.step in range(1, 1 + options.steps):
        trainer.take_step()
    seconds = time.perf_counter() - began
    found.note("steps_per_second", options.steps / seconds)
    found.note("share_waiting", waited / seconds)
    return found


class Found(dict):
    """Figures, each printed as it is found."""

    def note(self, name: str, value: object) -> None:
        self[name] = value
        print(name, value, flush=True)


def filled(trainer: Trainer, batches: int = 300) -> dict[str, float]:
    """Pixels of photos over pixels of canvases: batches as drawn, and of photos drawn from all there are."""
    sizes, generator, size = trainer.collection.sizes[-1], torch.Generator().manual_seed(0), trainer.config.batch_size
    shares = {"as_drawn": 0.0, "at_random": 0.0}
    for _ in range(batches):
        chosen = {
            "as_drawn": trainer.collection.draw(size, generator),
            "at_random": torch.randperm(len(sizes), generator=generator)[:size],
        }
        for name, indices in chosen.items():
            height, width = trainer.draws.canvases.extents(indices)[-1]
            shares[name] += sizes[indices].prod(dim=1).sum().item() / (len(indices) * height * width) / batches
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--max-size", type=int, default=None)
    parser.add_argument("--steps", type=int, default=4, help="training steps timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--folder", type=Path, help="where the photos go, on the disk in question (default: a temporary one)"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = {"environment": describe(options.device), **measure(Path(folder), options)}
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

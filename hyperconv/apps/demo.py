"""The whole journey on bundled photos: train, draw, walk, and model a photo the system never saw."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from hyperconv.apps.adapt import write_adaptation
from hyperconv.apps.interpolate import write_interpolation
from hyperconv.apps.model import Model
from hyperconv.apps.sample import write_samples
from hyperconv.apps.train import follow, resume, start
from hyperconv.data.examples import HELD_OUT, example_names, load_examples
from hyperconv.gan.presets import Config, preset
from hyperconv.gan.trainer import Trainer

WALK = ("china", "coffee")
TUNE_STEPS = 200


@dataclass(frozen=True)
class DemoPictures:
    """Where the pictures are."""

    samples: Path
    interpolation: Path
    unseen: Path
    tuned: Path


def demo(out: str | PathLike, config: Config | None = None, *, device: str = "auto") -> DemoPictures:
    """Train on the example photos but the held-out ones, in OUT/run, and write the pictures to OUT."""
    for _ in follow(demo_trainer(out, config, device=device)):
        pass
    return draw_pictures(out, device=device)


def demo_trainer(out: str | PathLike, config: Config | None = None, *, device: str = "auto") -> Trainer:
    """The demo's trainer, where an earlier demo in `out` stopped if there was one; config None is tiny."""
    run = Path(out) / "run"
    if (run / "config.json").is_file():
        return resume(run, device=device)
    photos = load_examples(name for name in example_names() if name not in HELD_OUT)
    return start(photos, run, config or preset("tiny"), device=device)[0]


def draw_pictures(out: str | PathLike, *, device: str = "auto") -> DemoPictures:
    """Samples of every photo, a walk between two, a held-out one as modelled and tuned, from OUT/run."""
    out = Path(out)
    model = Model.open(out / "run", device)
    (held_out,) = load_examples(HELD_OUT[:1])
    steps = min(TUNE_STEPS, model.config.iterations[0])
    return DemoPictures(
        samples=write_samples(model, model.names, out / "samples", count=4, force=True),
        interpolation=write_interpolation(model, WALK, out / "interpolation", force=True).picture,
        unseen=write_adaptation(model, held_out, out / "unseen", count=4, force=True),
        tuned=write_adaptation(model, held_out, out / "tuned", count=4, tune_steps=steps, force=True),
    )

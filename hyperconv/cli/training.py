"""What `hyperconv train` does once its options are read: start or continue, take every step, say how it goes."""

import shlex
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from hyperconv.apps.domains import start_domains
from hyperconv.apps.model import resolve_device
from hyperconv.apps.train import MAY_CHANGE, first_trainer, follow, new_run
from hyperconv.apps.train import resume as continue_run
from hyperconv.cli.progress import counted, show
from hyperconv.cli.stopping import until_stopped
from hyperconv.data.examples import load_examples
from hyperconv.errors import InputError
from hyperconv.gan.dip.presets import DipConfig
from hyperconv.gan.domain_trainer import DomainTrainer
from hyperconv.gan.presets import Config
from hyperconv.gan.presets import preset as named_preset
from hyperconv.gan.ranks import Ranks
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from hyperconv.gan.training_loop import TrainingLoop
from hyperconv.heap import keep_freed_memory


class Interrupted(Exception):
    """Training was stopped from the keyboard; the message says how to go on."""


def take_all_steps(trainer: TrainingLoop, tensorboard: bool) -> None:
    keep_freed_memory()
    begun, began = trainer.progress, time.monotonic()
    try:
        steps = follow(trainer, tensorboard=tensorboard)
        if trainer.ranks.count == 1:
            show(trainer, until_stopped(trainer, steps))
        elif trainer.ranks.leads:
            show(trainer, steps)
        else:
            deque(steps, maxlen=0)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted at scale {trainer.scale + 1}, step {trainer.step}; {how_to_go_on(trainer.run)}"
        ) from None
    if isinstance(trainer, Trainer) and trainer.config.alone and trainer.progress > begun:
        hours = (time.monotonic() - began) / (trainer.progress - begun) / 3600
        print(
            f"{int(trainer.awake.sum())} of {len(trainer.collection)} photos, {len(trainer.collection) / hours:.3g} an hour"
        )


def started(
    images: list[Path], examples: bool, out: Path, config: Config, device: str, on_disk: bool, ranks: Ranks
) -> Trainer:
    if examples and images:
        raise InputError("choose between IMAGES and --examples")
    if not examples and not images:
        raise InputError("no photos given: name image files or folders, or take --examples")
    given, where = load_examples() if examples else images, resolve_device(device)
    with counted("reading photos") as on_photo:
        run, collection, remarks = new_run(given, out, config, on_disk=on_disk, on_photo=on_photo, ranks=ranks)
    if ranks.leads:
        for remark in remarks:
            print(remark, file=sys.stderr)
        photos, scales = len(collection), config.scale_count
        several = f", {ranks.count} processes" if ranks.count > 1 else ""
        print(
            f"{photos} photo{'s' * (photos > 1)}, {scales} scale{'s' * (scales > 1)} up to {config.max_size} px, "
            f"{sum(map(config.iterations_at, range(scales)))} steps, on {where}{several}",
            flush=True,
        )
    return first_trainer(run, collection, where, ranks)


def started_domains(
    images: list[Path],
    examples: bool,
    out: Path,
    config: ReptileConfig | DipConfig,
    hold_out: Sequence[str],
    device: str,
) -> DomainTrainer:
    if examples == bool(images):
        raise InputError("choose between a folder of images and --examples")
    if len(images) > 1:
        raise InputError(f"--system {config.system} learns from one folder of images, {len(images)} are named")
    with counted("learning features") as on_step:
        trainer, remarks = start_domains(
            None if examples else images[0], out, config, hold_out=hold_out, device=device, on_step=on_step
        )
    for remark in remarks:
        print(remark, file=sys.stderr)
    domains = trainer.domains
    print(
        f"{len(domains)} {'domains' if config.system == 'reptile' else 'folders'}, {len(domains.pixels)} images of "
        f"{domains.size} px, {trainer.iterations} steps of {_a_step(config)}, on {trainer.device}"
    )
    return trainer


def _a_step(config: ReptileConfig | DipConfig) -> str:
    if config.system == "reptile":
        return f"{config.tasks} domains side by side"
    prior = "features" if config.prior == "instance" else "a constant for features"
    return f"{config.batch_size} images and {prior}" + (f", from {config.started_from}" if config.started_from else "")


def next_verb(trainer: TrainingLoop, out: Path) -> str:
    """What to type now."""
    if trainer.config.system != "reptile":
        return shlex.join(["hyperconv", "sample", str(out)])
    held_out = min((out / "held_out").rglob("*.png"), default=None)
    shots = str(held_out.parent) if held_out else "FOLDER"
    return shlex.join(["hyperconv", "adapt", str(out), "--shots", shots, "-k", "16"])


def resumed(
    out: Path, system: str | None, preset: str | None, changes: dict, device: str, on_disk: bool, ranks: Ranks
) -> TrainingLoop:
    wanted = {**changes, **({"system": system} if system else {})}
    if preset is not None:
        settings = named_preset(preset, system or Run.open(out).config.system).to_json()
        wanted = {name: value for name, value in settings.items() if name not in MAY_CHANGE} | wanted
    trainer = continue_run(out, wanted, device=device, on_disk=on_disk, ranks=ranks)
    where = f"scale {trainer.scale + 1}, step {trainer.step}"
    if ranks.leads:
        known = (
            f"{len(trainer.collection)} photos" if isinstance(trainer, Trainer) else f"{len(trainer.domains)} domains"
        )
        print(f"{out} with {known}, continued from {where}")
    return trainer


def how_to_go_on(run: Run) -> str:
    """What to type after training was stopped."""
    command = shlex.join(["hyperconv", "train", "--resume", "--out", str(run.path)])
    checkpoint = run.checkpoint()
    if checkpoint is None:
        return f"there is no checkpoint yet, start again with: {command}"
    scale, step = checkpoint
    return f"the last checkpoint is of scale {scale + 1}, step {step}; go on with: {command}"

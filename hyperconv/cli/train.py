"""`hyperconv train`: photos in, a run folder out."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.imitate import check_domains, start_domains
from hyperconv.apps.train import check_tensorboard, follow, start
from hyperconv.apps.train import resume as continue_run
from hyperconv.cli.progress import counted, show
from hyperconv.cli.stopping import until_stopped
from hyperconv.data.examples import load_examples
from hyperconv.errors import InputError
from hyperconv.gan.presets import PRESETS, Config
from hyperconv.gan.presets import preset as named_preset
from hyperconv.gan.ranks import Ranks, joined, local_device, was_restarted
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.reptile.trainer import ReptileTrainer
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer


def _list_presets() -> str:
    return "; ".join(f"{system}: {', '.join(presets)}" for system, presets in PRESETS.items())


PRESET = "Preset's settings, where you want others"
DOMAINS = "With --system reptile"
OURS = "(default: the preset's)"
setting = partial(typer.Option, show_default=False, rich_help_panel=PRESET)
of_domains = partial(typer.Option, show_default=False, rich_help_panel=DOMAINS)


class Interrupted(Exception):
    """Training was stopped from the keyboard; the message says how to go on."""


def train(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGES...",
            show_default=False,
            help="Image files and folders of images: anything Pillow opens. "
            "Grey photos alone train a grey model. With --system reptile one folder: of sub-folders of images, "
            "or MNIST's or CIFAR-10's files (binary version).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="RUN", show_default=False, help="Folder of the run, new or empty."
        ),
    ] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Use the bundled example photos, or digits.")] = False,
    system: Annotated[
        Literal["meta", "consingan", "singan", "reptile"] | None,
        typer.Option(
            show_default=False,
            help="What is trained. meta (default): one hypernetwork that makes a pyramid GAN of every photo. "
            "consingan, singan: a GAN of its own for every photo, all of them side by side; each becomes what "
            "it would become alone. reptile: a GAN that learns to imitate a whole domain, such as the images of one "
            "sub-folder, from a few of its images.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="tiny (default): 64 px, minutes on a CPU. small: 128 px, for a GPU or an evening. "
            f"paper: 250 px with the published settings, for a GPU. All of them: {_list_presets()}.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN, with the photos it has.")
    ] = False,
    on_disk: Annotated[
        bool,
        typer.Option(
            "--on-disk",
            help="Leave the photos in RUN/photos.safetensors, shrunk to every scale, and read those of the next steps "
            "while this one is taken; the result is the same. Happens by itself where memory has no room for them.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1, … or auto: a GPU where there is one.")
    ] = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves to RUN/tensorboard.")
    ] = False,
    seed: Annotated[
        int | None,
        setting(metavar="NUMBER", help="Same seed, same machine: same run (default: 0)."),
    ] = None,
    iterations: Annotated[
        str | None,
        setting(
            metavar="STEPS",
            help=f"Training steps of each scale from the coarsest on, as 600 or 600,300,200 {OURS}; "
            "the last number serves all scales that follow. Of a Reptile-GAN: of the outer loop.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        setting(
            min=1, metavar="PHOTOS", help=f"Photos per step {OURS}; fewer photos than that are all used. Single-image GANs "
            "always use all."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "tf32", "bf16"] | None,
        setting(
            help=f"Of products {OURS}. fp32: exact. tf32: a GPU's faster float32. bf16: bfloat16 in the generated "
            "nets, the rest as tf32.",
        ),
    ] = None,
    max_size: Annotated[
        int | None,
        setting(min=11, metavar="PIXELS", help=f"Long side of the finished images {OURS}."),
    ] = None,
    min_size: Annotated[
        int | None,
        setting(min=11, metavar="PIXELS", help=f"Long side at the coarsest scale {OURS}."),
    ] = None,
    scale_count: Annotated[
        int | None,
        setting(min=1, metavar="NUMBER", help=f"Scales of the pyramid {OURS}."),
    ] = None,
    learning_rate: Annotated[
        float | None,
        setting(
            min=0,
            metavar="RATE",
            help=f"Of both optimizers {OURS}; the one setting a resumed run may change.",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        setting(
            metavar="FILE",
            help="Start the ResNet embeddings from torchvision's published weights, "
            "a .pth or .safetensors file (default: random).",
        ),
    ] = None,
    hold_out: Annotated[
        list[str] | None,
        of_domains(
            metavar="NAME",
            help="A domain not to learn from; may be repeated. Some of its images go to RUN/held_out/NAME, to try "
            "`hyperconv adapt` with (default with --examples: 8 and 9).",
        ),
    ] = None,
    tasks: Annotated[
        int | None,
        of_domains(min=1, metavar="NUMBER", help=f"Domains that adapt side by side in a step {OURS}."),
    ] = None,
    inner_steps: Annotated[
        int | None,
        of_domains(min=1, metavar="STEPS", help=f"Steps of each domain's own training within a step {OURS}."),
    ] = None,
    image_size: Annotated[
        int | None,
        of_domains(min=8, metavar="PIXELS", help=f"Side of the square images: 8, 16, 32, ... {OURS}."),
    ] = None,
) -> None:
    """Train a model of photos.

    Goes through the scales from coarse to fine. RUN then holds the model,
    the photos as trained, metrics.jsonl, and contact sheets in RUN/samples.
    Stop at any time, with Ctrl-C: --resume goes on from where it was.

    \b
    Examples:
      hyperconv train photos/ --out run
      hyperconv train lake.jpg mountain.png --out run --iterations 1000
      hyperconv train --examples --out run --preset small --device cuda
      hyperconv train photos/*.jpg --out run --system consingan
      hyperconv train a.jpg -o run --system consingan --preset paper-harmonize
      hyperconv train --examples --out digits --system reptile
      hyperconv train --resume --out run

    \b
    Several GPUs, or machines that share a file system: each takes a part of
    every batch, the result is that of one. Ended by an error, all of them go
    on from the checkpoint as often as --max-restarts says.
      torchrun --nproc-per-node 8 -m hyperconv train photos/ --out run
      torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d \
        --rdzv-endpoint host:29500 -m hyperconv train photos/ --out run
    """
    if out is None:
        raise InputError("say where the run goes: --out RUN")
    if tensorboard:
        check_tensorboard()
    changes = {
        "seed": seed,
        "iterations": _parse_steps(iterations),
        "batch_size": batch_size,
        "precision": precision,
        "max_size": max_size,
        "min_size": min_size,
        "scale_count": scale_count,
        "learning_rate": learning_rate,
        "backbone_weights": None if backbone_weights is None else str(backbone_weights),
        "tasks": tasks,
        "inner_steps": inner_steps,
        "image_size": image_size,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if hold_out and (resume or system != "reptile"):
        raise InputError("--hold-out is for new runs of --system reptile: leave it out")
    with joined() as ranks:
        device = local_device(device)
        if resume or (was_restarted() and (out / "config.json").is_file()):
            trainer = _resumed(out, system, preset, changes, device, on_disk, ranks)
        else:
            config = named_preset(preset or "tiny", system or "meta", **changes)
            if system == "reptile":
                check_domains(on_disk, ranks)
                trainer = _started_domains(images or [], examples, out, config, hold_out or (), device)
            else:
                trainer = _started(images or [], examples, out, config, device, on_disk, ranks)
        _take_all_steps(trainer, tensorboard)
    if ranks.leads:
        print(f"run: {out}\nsheets: {out / 'samples'}\nnext: {_next(trainer, out)}")


def _take_all_steps(trainer: Trainer | ReptileTrainer, tensorboard: bool) -> None:
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
            f"interrupted at scale {trainer.scale + 1}, step {trainer.step}; {_how_to_go_on(trainer.run)}"
        ) from None
    if isinstance(trainer, Trainer) and trainer.config.alone and trainer.progress > begun:
        hours = (time.monotonic() - began) / (trainer.progress - begun) / 3600
        print(f"{int(trainer.awake.sum())} of {len(trainer.collection)} photos, {len(trainer.collection) / hours:.3g} an hour")


def _started(
    images: list[Path], examples: bool, out: Path, config: Config, device: str, on_disk: bool, ranks: Ranks
) -> Trainer:
    if examples and images:
        raise InputError("choose between IMAGES and --examples")
    if not examples and not images:
        raise InputError("no photos given: name image files or folders, or take --examples")
    given = load_examples() if examples else images
    with counted("reading photos") as on_photo:
        trainer, remarks = start(given, out, config, device=device, on_disk=on_disk, on_photo=on_photo, ranks=ranks)
    if not ranks.leads:
        return trainer
    for remark in remarks:
        print(remark, file=sys.stderr)
    several = f", {ranks.count} processes" if ranks.count > 1 else ""
    print(
        f"{len(trainer.collection)} photos, {config.scale_count} scales up to {config.max_size} px, "
        f"{sum(map(config.iterations_at, range(config.scale_count)))} steps, on {trainer.device}{several}"
    )
    return trainer


def _started_domains(images: list[Path], examples: bool, out: Path, config: ReptileConfig, hold_out: Sequence[str],
                     device: str) -> ReptileTrainer:
    if examples == bool(images):
        raise InputError("choose between a folder of domains and --examples")
    if len(images) > 1:
        raise InputError(f"a Reptile-GAN learns from one folder of domains, {len(images)} are named")
    trainer, remarks = start_domains(None if examples else images[0], out, config, hold_out=hold_out, device=device)
    for remark in remarks:
        print(remark, file=sys.stderr)
    domains = trainer.domains
    print(f"{len(domains)} domains, {len(domains.pixels)} images of {domains.size} px, {trainer.iterations} steps of "
          f"{config.tasks} domains side by side, on {trainer.device}")
    return trainer


def _next(trainer: Trainer | ReptileTrainer, out: Path) -> str:
    if isinstance(trainer, Trainer):
        return f"hyperconv sample {out}"
    held_out = min((out / "held_out").rglob("*.png"), default=None)
    return f"hyperconv adapt {out} --shots {held_out.parent if held_out else 'FOLDER'} -k 16"


def _resumed(
    out: Path, system: str | None, preset: str | None, changes: dict, device: str, on_disk: bool, ranks: Ranks
) -> Trainer | ReptileTrainer:
    wanted = {**changes, **({"system": system} if system else {})}
    if preset is not None:
        wanted = named_preset(preset, system or Run.open(out).config.system).to_json() | wanted
    trainer = continue_run(out, wanted, device=device, on_disk=on_disk, ranks=ranks)
    where = f"scale {trainer.scale + 1}, step {trainer.step}"
    if ranks.leads:
        known = f"{len(trainer.collection)} photos" if isinstance(trainer, Trainer) else f"{len(trainer.domains)} domains"
        print(f"{out} with {known}, continued from {where}")
    return trainer


def _how_to_go_on(run: Run) -> str:
    command = f"hyperconv train --resume --out {run.path}"
    checkpoint = run.checkpoint()
    if checkpoint is None:
        return f"there is no checkpoint yet, start again with: {command}"
    scale, step = checkpoint
    return f"the last checkpoint is of scale {scale + 1}, step {step}; go on with: {command}"


def _parse_steps(text: str | None) -> tuple[int, ...] | None:
    """'600,300' -> (600, 300)."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            f"--iterations {text!r} is not a number of steps; write 600, or 600,300,200 for the scales"
        )
    return tuple(int(part) for part in parts)

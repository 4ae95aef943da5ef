"""`hyperconv train`: photos in, a run folder out."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperconv.apps.domains import check_domains
from hyperconv.apps.train import check_tensorboard, new_config
from hyperconv.cli.training import next_verb, resumed, started, started_domains, take_all_steps
from hyperconv.errors import InputError
from hyperconv.gan.presets import OF_DOMAINS, PRESETS
from hyperconv.gan.ranks import joined, local_device, was_restarted
from hyperconv.nn.embedding import EMBEDDINGS


def _list_presets() -> str:
    return "; ".join(f"{system}: {', '.join(presets)}" for system, presets in PRESETS.items())


PRESET = "Preset's settings, where you want others"
FOLDERS, REPTILE, DIP = "With --system reptile or dip", "With --system reptile", "With --system dip"
OURS = "(default: the preset's)"
setting = partial(typer.Option, show_default=False, rich_help_panel=PRESET)
of_folders = partial(typer.Option, show_default=False, rich_help_panel=FOLDERS)
of_reptile = partial(typer.Option, show_default=False, rich_help_panel=REPTILE)
of_dip = partial(typer.Option, show_default=False, rich_help_panel=DIP)


def train(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGES...",
            show_default=False,
            help="Image files and folders of images: anything Pillow opens. "
            "Grey photos alone train a grey model. With --system reptile one folder: of sub-folders of images, "
            "or MNIST's or CIFAR-10's files (binary version); with --system dip one folder of any images, sub-folders "
            "included.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="RUN", show_default=False, help="Folder of the run, new or empty."),
    ] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Use the bundled example photos, or digits.")] = False,
    system: Annotated[
        Literal["meta", "consingan", "singan", "reptile", "dip"] | None,
        typer.Option(
            show_default=False,
            help="What is trained. meta (default): one hypernetwork that makes a pyramid GAN of every photo. "
            "consingan, singan: a GAN of its own for every photo, all of them side by side; each becomes what "
            "it would become alone. reptile: a GAN that learns to imitate a whole domain, such as the images of one "
            "sub-folder, from a few of its images. dip: a GAN of square images that draws around the features of "
            "single ones, and moves to a few images of another kind.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="tiny (default): 64 px, minutes on a CPU. small: 128 px, for a GPU or an evening. "
            "paper: 250 px with the published settings, for a GPU. Of reptile and dip, whose images are square, tiny has 8 px "
            f"and small 32. All of them: {_list_presets()}.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in RUN, with the photos it has.")] = False,
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
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write curves to RUN/tensorboard.")] = False,
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
            min=1,
            metavar="PHOTOS",
            help=f"Photos per step {OURS}; fewer photos than that are all used. Single-image GANs always use all.",
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
        setting(
            min=11,
            metavar="PIXELS",
            help=f"Long side of the finished images {OURS}; --system consingan and singan enlarge no smaller photo.",
        ),
    ] = None,
    min_size: Annotated[
        int | None,
        setting(
            min=11,
            metavar="PIXELS",
            help=f"Long side at the coarsest scale {OURS}; the short side with --system consingan and singan.",
        ),
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
            help=f"Of both optimizers {OURS}; a resumed run may change it.",
        ),
    ] = None,
    embedding: Annotated[
        Literal[EMBEDDINGS] | None,
        setting(
            metavar="NAME",
            help=f"How the hypernetwork of --system meta sees photos {OURS}. conv, resnet18, resnet34, resnet50: it learns to. "
            "contrastive: features that a small net learns of the photos before, and a linear map. frozen-resnet18, "
            "-resnet34, -resnet50, -vgg16: the features of --backbone-weights, and a linear map.",
        ),
    ] = None,
    head_rank: Annotated[
        int | None,
        setting(
            min=1,
            metavar="NUMBER",
            help="Numbers that the hypernetwork of --system meta squeezes a photo into before it generates weights (default: "
            "no such bottleneck). Its heads, most of a model's parameters, shrink to NUMBER / features of their size: with "
            "the paper's preset, of 512.",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        setting(
            metavar="FILE",
            help="Start the ResNet embeddings from torchvision's published weights, "
            "a .pth or .safetensors file (default: random); a frozen embedding needs one, MoCo's and SwAV's fit, too. With --system dip: the ResNet or VGG16 whose features are the "
            "prior (default: a small net, trained on the images by contrast). "
            "A resumed run may find it elsewhere.",
        ),
    ] = None,
    hold_out: Annotated[
        list[str] | None,
        of_folders(
            metavar="NAME",
            help="A domain, or folder, not to learn from; may be repeated. Some of its images go to RUN/held_out/NAME, to "
            "try `hyperconv adapt` or --from with (default with --examples: 8 and 9).",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        of_folders(min=8, metavar="PIXELS", help=f"Side of the square images: 8, 16, 32, ... {OURS}."),
    ] = None,
    tasks: Annotated[
        int | None,
        of_reptile(min=1, metavar="NUMBER", help=f"Domains that adapt side by side in a step {OURS}."),
    ] = None,
    inner_steps: Annotated[
        int | None,
        of_reptile(min=1, metavar="STEPS", help=f"Steps of each domain's own training within a step {OURS}."),
    ] = None,
    start_from: Annotated[
        Path | None,
        of_dip(
            "--from",
            metavar="RUN",
            help="Start from the weights of this trained run, with its settings: few-shot transfer.",
        ),
    ] = None,
    transfer: Annotated[
        Literal["all", "freeze-d"] | None,
        of_dip(help="What then learns (default: all). freeze-d: the lower half of the discriminator rests."),
    ] = None,
    without_prior: Annotated[
        bool, of_dip("--without-prior", help="A constant in place of the features: the same GAN without its prior.")
    ] = False,
    neighbours: Annotated[
        int | None,
        of_dip(
            min=1, metavar="K", help=f"Show a random one of an image's K nearest as the real one, as IC-GAN {OURS}."
        ),
    ] = None,
    augment: Annotated[
        str | None,
        of_dip(
            metavar="WORDS", help="Alter what the discriminator sees (DiffAugment): some of color,translation,cutout."
        ),
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
      hyperconv train images/ --out run --system dip
      hyperconv train fifty/ --out fifty_run --system dip --from run
      hyperconv train --resume --out run

    \b
    Several GPUs, or machines that share a file system: each takes a part of
    every batch, the result is that of one. Ended by an error, all of them go
    on from the checkpoint as often as --max-restarts says.
      torchrun --nproc-per-node 8 -m hyperconv train photos/ --out run
      torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d \\
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
        "embedding": embedding,
        "head_rank": head_rank,
        "backbone_weights": backbone_weights,
        "image_size": image_size,
        "tasks": tasks,
        "inner_steps": inner_steps,
        "transfer": transfer,
        "prior": "none" if without_prior else None,
        "neighbours": neighbours,
        "augment": augment,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if resume and (hold_out or start_from is not None):
        raise InputError("--hold-out and --from are for new runs: leave them out, or --resume")
    if embedding is not None and system == "dip":  # whose setting of that name is a number
        raise InputError("--embedding is for the hypernetwork of --system meta, which dip has not: leave it out")
    if resume and (images or examples):
        raise InputError(f"the run keeps its photos: leave {'IMAGES' if images else '--examples'} out, or --resume")
    with joined() as ranks:
        device = local_device(device)
        if resume or (was_restarted() and (out / "config.json").is_file()):
            trainer = resumed(out, system, preset, changes, device, on_disk, ranks)
        else:
            config = new_config(preset, system or "meta", hold_out=hold_out or (), start_from=start_from, **changes)
            if config.system in OF_DOMAINS:
                check_domains(on_disk, ranks)
                trainer = started_domains(images or [], examples, out, config, hold_out or (), device)
            else:
                trainer = started(images or [], examples, out, config, device, on_disk, ranks)
        take_all_steps(trainer, tensorboard)
    if ranks.leads:
        print(f"run: {out}\nsheets: {out / 'samples'}\nnext: {next_verb(trainer, out)}")


def _parse_steps(text: str | None) -> tuple[int, ...] | None:
    """'600,300' -> (600, 300)."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--iterations {text!r} is not a number of steps; write 600, or 600,300,200 for the scales")
    return tuple(int(part) for part in parts)

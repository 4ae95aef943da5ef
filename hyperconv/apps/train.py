"""Training a run: photos in, a run folder out, contact sheets and TensorBoard curves on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperconv.apps.domains import TRAINERS, check_domains, start_domains
from hyperconv.apps.imitate import write_domain_sheet
from hyperconv.apps.instances import write_instance_sheet
from hyperconv.apps.model import resolve_device
from hyperconv.apps.sheet import PHOTO_HEADINGS, contact_sheet
from hyperconv.data import canvas
from hyperconv.data.collection import Collection
from hyperconv.data.domains import Domains
from hyperconv.data.images import Photo, find_photos
from hyperconv.data.pyramid_store import PhotoIntake
from hyperconv.errors import InputError
from hyperconv.gan.dip.transfer import config_from
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.presets import OF_DOMAINS, AnyConfig, Config, preset
from hyperconv.gan.ranks import ALONE, Ranks, check_ranks
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from hyperconv.gan.training_loop import Progress, TrainingLoop
from hyperconv.progress import OnEach

Images = str | PathLike | Photo | Iterable[str | PathLike] | Iterable[Photo]
SHEET_PHOTOS, SHEET_SAMPLES = 8, 4  # on the sheets written while training
MAY_CHANGE = ("learning_rate", "backbone_weights")  # settings that a resumed run may take anew


def train(
    images: Images | Domains | None,
    out: str | PathLike,
    preset_name: str | None = None,
    *,
    system: str = "meta",
    device: str = "auto",
    tensorboard: bool = False,
    hold_out: Sequence[str] = (),
    start_from: str | PathLike | None = None,
    **changes: Any,
) -> Run:
    """Train a new run in the folder `out` on photos, or image files and folders, one or several, and return it.

    systems 'reptile' and 'dip' take domains instead, or one folder of them, or None for scikit-learn's digits; hold_out
    names those to leave out (`start_domains`). The other arguments, and InputErrors for them: `new_config`. InputError
    also for images or an `out` that cannot be used; single images that cannot be are left out (`start` tells which, and
    why).
    """
    config = new_config(preset_name, system, hold_out=hold_out, start_from=start_from, **changes)
    if config.system in OF_DOMAINS:
        trainer, _ = start_domains(images, out, config, hold_out=hold_out, device=device)
    else:
        trainer, _ = start(images, out, config, device=device)
    for _ in follow(trainer, tensorboard=tensorboard):
        pass
    return trainer.run


def new_config(
    preset_name: str | None = None,
    system: str = "meta",
    *,
    hold_out: Sequence[str] = (),
    start_from: str | PathLike | None = None,
    **changes: Any,
) -> AnyConfig:
    """The settings of a new run: those of a preset (default: tiny), or of the run it starts from.

    start_from: a trained run of system 'dip', whose settings and weights the new one has; there is no preset then.
    changes: settings that differ, by their names in `Config` (max_size=96, ...). InputError for one that cannot be, and
    for an argument that means nothing to the system.
    """
    if hold_out and system not in OF_DOMAINS:
        raise InputError(
            f"--hold-out names domains, which {system} does not learn from: leave it out, or take "
            "--system reptile or dip"
        )
    changes = _from_anywhere(changes)
    if start_from is None:
        return preset(preset_name or "tiny", system, **changes)
    if system != "dip" or preset_name is not None:
        raise InputError(
            "--from is for a new run of --system dip, which has the settings of the other: leave out "
            "--preset, and choose that system"
        )
    return config_from(Run.open(start_from), **changes)


def start(
    images: Images,
    out: str | PathLike,
    config: Config,
    *,
    device: str = "auto",
    on_disk: bool = False,
    on_photo: OnEach = None,
    ranks: Ranks = ALONE,
) -> tuple[Trainer, list[str]]:
    """A trainer at its first step in a new run folder, and one line for each image with a problem.

    Files are read one by one. on_disk: their pyramids then stay in the run's file, as they do in any case where memory
    has no room for them. on_photo(taken, all) is called after each. ranks: processes that all call this; the first one
    reads the images and makes the folder, which all must see.
    """
    where = resolve_device(device)
    run, collection, remarks = new_run(images, out, config, on_disk=on_disk, on_photo=on_photo, ranks=ranks)
    return first_trainer(run, collection, where, ranks), remarks


def new_run(
    images: Images, out: str | PathLike, config: Config, *, on_disk: bool, on_photo: OnEach, ranks: Ranks
) -> tuple[Run, Collection, list[str]]:
    """What `start` trains: the new run, its photos, and the lines on images with a problem."""
    created = ranks.first(lambda: _create(images, out, config, on_disk, on_photo, ranks))
    return created or (Run.open(out), Run.open(out).collection(on_disk), [])


def first_trainer(run: Run, collection: Collection, device: torch.device, ranks: Ranks) -> Trainer:
    """A trainer of a new run, prepared for its first step. InputError where it cannot be; the run is gone then."""
    try:
        return Trainer(run, collection, device, ranks=ranks)
    except InputError:
        if ranks.leads:
            run.discard()
        raise


def _create(
    images: Images, out: str | PathLike, config: Config, on_disk: bool, on_photo: OnEach, ranks: Ranks
) -> tuple[Run, Collection, list[str]]:
    square = None if config.alone else config.embedding_size
    intake = PhotoIntake(_photos_or_files(images), config.pyramid(), square, on_photo)
    run = Run.create(out, config, intake)
    try:
        collection = run.collection(on_disk)
        check_ranks(ranks, config, len(collection))
    except InputError:
        run.discard()
        raise
    return run, collection, [f"left out: {problem}" for problem in intake.problems] + collection.notes


def resume(
    out: str | PathLike,
    wanted: dict[str, Any] | None = None,
    *,
    device: str = "auto",
    on_disk: bool = False,
    ranks: Ranks = ALONE,
) -> TrainingLoop:
    """The trainer of an existing run where it stopped.

    wanted: settings by name; only those of MAY_CHANGE may differ from the run's own, else InputError. ranks: processes
    that all call this; they need not be as many as before. on_disk: as in `start`.
    """
    where = resolve_device(device)
    opened = ranks.first(lambda: _reopen(out, wanted or {}, on_disk, ranks))
    run, collection = opened or (Run.open(out), Run.open(out).collection(on_disk))
    if run.config.system in TRAINERS:
        return TRAINERS[run.config.system](run, collection, where)
    return Trainer(run, collection, where, ranks=ranks)


def _reopen(
    out: str | PathLike, wanted: dict[str, Any], on_disk: bool, ranks: Ranks
) -> tuple[Run, Collection | Domains]:
    run = Run.open(out)
    if run.has("model") and not run.has("training_state"):
        raise InputError(
            f"{out} has a model and no training_state.safetensors to go on from: restore that file, or "
            "train anew with another --out"
        )
    wanted = _from_anywhere(wanted)
    changed = {name: value for name, value in wanted.items() if value != getattr(run.config, name, None)}
    fixed = [
        f"{name} is {getattr(run.config, name, None)}, not {value}"
        for name, value in changed.items()
        if name not in MAY_CHANGE
    ]
    if fixed:
        raise InputError(f"a resumed run keeps its settings; in {out} {'; '.join(fixed)}: leave that out")
    if changed:
        run = Run(run.path, replace(run.config, **changed))
        run.save_config()
    if run.config.system in OF_DOMAINS:
        check_domains(on_disk, ranks)
        return run, run.domains(run.config.system)
    collection = run.collection(on_disk)
    check_ranks(ranks, run.config, len(collection))
    return run, collection


def _from_anywhere(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings whose file is found whatever folder a later process runs in."""
    file = settings.get("backbone_weights")
    return settings if file is None else {**settings, "backbone_weights": str(Path(file).resolve())}


def follow(trainer: TrainingLoop, *, tensorboard: bool = False) -> Iterator[Progress]:
    """Train to the end, yielding after every step; a contact sheet with every checkpoint."""
    leads = trainer.ranks.leads
    write_sheet = {"reptile": write_domain_sheet, "dip": write_instance_sheet}.get(
        trainer.config.system, write_training_sheet
    )
    with _curves(trainer) if tensorboard and leads else nullcontext() as curves:
        for progress in trainer.train():
            if progress.saved and leads:
                write_sheet(trainer)
            if curves is not None and progress.losses is not None:
                for name, value in progress.losses.items():
                    curves.add_scalar(name, value, _overall_step(trainer))
            yield progress


@torch.no_grad()
def write_training_sheet(trainer: Trainer) -> Path:
    """RUN/samples/scale_S_step_T.png: the first photos at the scale in training, as they are and as drawn."""
    chosen = torch.arange(len(trainer.collection))[:SHEET_PHOTOS]
    model, scale = trainer.photo_model(chosen), trainer.scale
    photos = canvas.crop(trainer.collection.batch(chosen, scale).images, model.sizes[scale])
    reconstructions = canvas.crop(model.reconstruct(), model.sizes[scale])
    samples = _sheet_samples(trainer, model)
    samples = canvas.crop(samples, model.grid(scale, len(samples)).sizes)
    rows = [
        (
            trainer.collection.names[i],
            [photos[i], reconstructions[i], *samples[SHEET_SAMPLES * i : SHEET_SAMPLES * (i + 1)]],
        )
        for i in range(len(chosen))
    ]
    path = trainer.run.path / "samples" / f"scale_{scale}_step_{trainer.step:05}.png"
    contact_sheet(rows, PHOTO_HEADINGS, path)
    return path


def _sheet_samples(trainer: Trainer, model: PhotoModel) -> Tensor:
    """SHEET_SAMPLES images of each photo of the model, drawn from what its coarsest scale is trained on."""
    source = seeded(trainer.device, trainer.config.seed, "sheet")
    if trainer.config.first_input == "noise":
        return model.sample(SHEET_SAMPLES, source)
    drawn = [trainer.draws.step(trainer.step + number).noise[0].z[: model.batch] for number in range(SHEET_SAMPLES)]
    height, width = model.extent(0)
    altered = torch.stack(drawn, dim=1).flatten(0, 1)[:, :, :height, :width]
    return model.images(model.climb(model.begin(altered), lambda shape, scale: white(shape, source)))


def _photos_or_files(images: Images) -> list[Photo] | list[Path]:
    images = [images] if isinstance(images, (str, PathLike, Photo)) else list(images)
    given = [image for image in images if isinstance(image, Photo)]
    if len(given) not in (0, len(images)):
        raise TypeError("images mixes photos with paths: give one kind")
    return given or find_photos(images)


def _overall_step(trainer: TrainingLoop) -> int:
    return sum(trainer.config.iterations_at(scale) for scale in range(trainer.scale)) + trainer.step


def check_tensorboard() -> None:
    """InputError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave --tensorboard out")


def _curves(trainer: TrainingLoop):
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(trainer.run.path / "tensorboard", purge_step=_overall_step(trainer) + 1)

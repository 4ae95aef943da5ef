"""A run is a folder: config.json, photos.safetensors, model.safetensors, training_state.safetensors, metrics.jsonl."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.data.domains import Domains
from hyperconv.data.pyramid_store import PhotoIntake
from hyperconv.data.tensor_file import TensorFile, write_tensors
from hyperconv.errors import InputError
from hyperconv.files import replacing
from hyperconv.gan import memory
from hyperconv.gan.meta import MetaGAN
from hyperconv.gan.presets import OF_DOMAINS, AnyConfig, Config
from hyperconv.gan.single import SingleGANs
from hyperconv.gan.system import System

KNOWS = {
    "reptile": ("domains, not single photos", "`hyperconv adapt RUN --shots FOLDER`"),
    "dip": ("images by their features and has no pyramid", "`hyperconv sample`, interpolate, invert or evaluate"),
}
UNFINISHED = ".new"  # the folder in which a run is made
FIRST_FILES = ("samples", "photos.safetensors", "config.json")  # the last one makes it a run
KNOWS_PHOTOS = "single photos, not folders of images", "`hyperconv sample RUN`, or `hyperconv adapt RUN PHOTO`"


class Run:
    """The files of one run. Every file is replaced as a whole: a kill leaves the last complete one.

    `training_state` holds everything needed to go on (parameters, both optimizers, where training stood), so that it
    is a checkpoint by itself; `model` is what the applications load. Nothing in a run is unpickled.
    """

    made_folder = False  # by `create`, which else filled an empty one

    def __init__(self, path: str | Path, config: AnyConfig) -> None:
        self.path = Path(path)
        self.config = config

    @classmethod
    def create(cls, path: str | Path, config: AnyConfig, photos: Collection | PhotoIntake | Domains) -> Run:
        """A new run in an absent or empty folder; raises InputError where files would be overwritten.

        Its files are moved there once all are written, so it appears whole or not at all: what a kill leaves is no run,
        and the next one takes its place.
        """
        run, unfinished = cls(path, config), cls(Path(path) / UNFINISHED, config)
        run.made_folder = not run.path.exists()
        _refuse_taken(run.path)
        run.path.mkdir(parents=True, exist_ok=True)
        try:
            shutil.rmtree(unfinished.path, ignore_errors=True)
            (unfinished.path / "samples").mkdir(parents=True)
            photos.save(unfinished.path / "photos.safetensors")
            unfinished.save_config()
            _refuse_taken(run.path)
            for name in FIRST_FILES:
                os.replace(unfinished.path / name, run.path / name)
            unfinished.path.rmdir()
        except BaseException:
            if not (run.path / "config.json").exists():  # which would be of another process
                run.discard()
            raise
        return run

    def discard(self) -> None:
        """Undo `create`: the folder is empty again, or absent."""
        for entry in self.path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if self.made_folder:
            self.path.rmdir()

    def save_config(self) -> None:
        with replacing(self.path / "config.json") as file:
            file.write_text(json.dumps(self.config.to_json(), indent=2) + "\n")

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in a folder; InputError where there is no config.json, or one that cannot be used."""
        path = Path(path)
        file = path / "config.json"
        if not file.is_file():
            raise InputError(f"{path} is not a run: it has no config.json (a run is what `hyperconv train` writes)")
        try:
            values = json.loads(file.read_text())
            config = OF_DOMAINS.get(values.get("system"), Config).from_json(values)
        except (InputError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
            raise InputError(f"{file} cannot be used: {error}") from error
        return cls(path, config)

    def collection(self, on_disk: bool = False) -> Collection:
        """The photos the run was trained on, as they were then; left on disk where memory has no room for them.

        on_disk: left there in any case. Where every photo has parameters of its own, all are in every batch: they are
        in memory. InputError for a run of a system that has no pyramids of photos.
        """
        if self.config.system in OF_DOMAINS:
            raise self.is_of_another_system()
        path = self.path / "photos.safetensors"
        on_disk = not self.config.alone and (on_disk or (path.is_file() and not memory.has_room_for(path)))
        return Collection.load(path, on_disk)

    def domains(self, system: str) -> Domains:
        """The images that a GAN of this system was trained on. InputError for a run of another one."""
        if self.config.system != system:
            raise self.is_of_another_system()
        return Domains.load(self.path / "photos.safetensors")

    def is_of_another_system(self) -> InputError:
        """What to say where a verb is for other systems than the run's."""
        knows, use = KNOWS.get(self.config.system, KNOWS_PHOTOS)
        return InputError(
            f"{self.path} is a run of --system {self.config.system}, which knows {knows}: use {use} with it, "
            "or a run of another system here"
        )

    def save(self, name: str, tensors: dict[str, Tensor], where: dict[str, int]) -> None:
        """Write `name`.safetensors; `where` (scale, step) goes into its header."""
        write_tensors(self.path / f"{name}.safetensors", tensors, {key: str(value) for key, value in where.items()})

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, int]]:
        """What `save` wrote; InputError if it is absent, or anything in it has changed."""
        path = self.path / f"{name}.safetensors"
        if not path.is_file():
            raise InputError(f"{path} is absent: the run has no checkpoint yet")
        try:
            file = TensorFile(path)
            return (
                {key: file.tensor(key) for key in sorted(file.names)},
                {key: int(value) for key, value in file.about.items()},
            )
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}): restore it or train again") from error

    def has(self, name: str) -> bool:
        """Whether `save` wrote this file."""
        return (self.path / f"{name}.safetensors").is_file()

    def whole(self, name: str) -> dict[str, int] | None:
        """Where this file stands if it is as `save` wrote it, else None."""
        try:
            return self.load(name)[1]
        except InputError:
            return None

    def checkpoint(self) -> tuple[int, int] | None:
        """(scale, step) of the checkpoint that a resumed run starts from; None if there is none."""
        if not self.has("training_state"):
            return None
        where = TensorFile(self.path / "training_state.safetensors").about
        return int(where["scale"]), int(where["step"])

    def log(self, record: dict) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def forget_metrics_after(self, scale: int, step: int) -> None:
        """Drop the lines of steps that a resumed run takes again, and a line cut short by a kill."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
                if (record["scale"], record["step"]) <= (scale, step):
                    kept.append(line + "\n")
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
        with replacing(path) as file:
            file.write_text("".join(kept))


def _refuse_taken(path: Path) -> None:
    """InputError where there is anything but an empty folder, or what a killed `create` left in one."""
    if not path.exists():
        return
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    left = {UNFINISHED, *FIRST_FILES[:-1]} if UNFINISHED in names else set()
    if not names <= left:
        raise InputError(f"{path} exists and is not empty: choose another --out, or continue it with --resume")


def load_system(
    run: Run, collection: Collection, name: str = "model", device: torch.device | str = "cpu"
) -> tuple[System, Tensor, dict[str, Tensor], dict[str, int]]:
    """Rebuild the system saved in a run's file, of the photos it was trained on.

    Returns the system, amplitudes (photos, scales), other tensors, and where it stood.
    """
    tensors, where = run.load(name)
    try:
        system = build_system(run.config, collection, pretrained=False)
        system.grow(where["scale"] + 1)
        prefix = "system."
        state = {key[len(prefix) :]: tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
        system.load_state_dict(state)
        amplitudes = tensors.pop("amplitudes")
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{run.path / name}.safetensors does not fit config.json beside it: {reason}") from error
    if len(amplitudes) != len(collection):
        raise InputError(
            f"{run.path}: {name}.safetensors knows {len(amplitudes)} photos and photos.safetensors holds "
            f"{len(collection)}: they are not of one run"
        )
    return system.to(device), amplitudes.to(device), tensors, where


def build_system(config: Config, collection: Collection, *, pretrained: bool = True) -> System:
    """A system at its start, for these photos; pretrained=False leaves `config.backbone_weights` unread."""
    if config.alone:
        return SingleGANs(config, collection)
    return MetaGAN(config, collection.channels, int(collection.sizes[0].max()), pretrained=pretrained)


def fill(run: Run, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy what was read from a run's file into the tensors `own` of its GAN; InputError where they do not fit."""
    for name, value in own.items():
        if name not in tensors or tensors[name].shape != value.shape:
            found = f"has {tuple(tensors[name].shape)}" if name in tensors else "is absent"
            raise InputError(
                f"the checkpoint in {run.path} does not fit config.json beside it: {name} should have shape "
                f"{tuple(value.shape)}, it {found}"
            )
        value.copy_(tensors[name])


def system_tensors(system: System, amplitudes: Tensor) -> dict[str, Tensor]:
    """What `load_system` reads back: a system and its amplitudes (photos, scales), by name."""
    return {**{f"system.{key}": value for key, value in system.state_dict().items()}, "amplitudes": amplitudes}

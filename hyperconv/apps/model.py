"""A run opened for use: its photos by name, and the pyramid GAN of each."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo, read_photo, unique_names
from hyperconv.errors import InputError
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.exported import export, load_exported
from hyperconv.gan.nets import critic_template
from hyperconv.gan.noise import seeded
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.run import Run, load_system
from hyperconv.gan.system import System
from hyperconv.gan.tune import tune, tune_context
from hyperconv.nn.layout import WeightSet
from hyperconv.progress import OnEach

Tuned = Literal["weights", "embedding"]


def resolve_device(name: str) -> torch.device:
    """'auto' is a GPU where there is one; InputError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"device {name!r} cannot be used here ({reason}); try --device cpu") from None
    if device.type == "meta":
        raise InputError("device 'meta' has shapes and no numbers, so no images; try --device cpu")
    return device


class Model:
    """A trained system and some photos: those of its run, or ones it never saw (`with_photos`).

    amplitudes: (photos, scales), the noise amplitude of every photo and scale; None has them measured on each
    photo's reconstruction, as training does. A run still in training has the scales it has begun.
    """

    def __init__(self, system: System, collection: Collection, amplitudes: Tensor | None = None) -> None:
        self.system = system.requires_grad_(False)
        self.config = system.config
        self.device = next(system.parameters()).device
        self.collection = collection.to(self.device)
        if amplitudes is None:
            self.amplitudes = torch.zeros(len(collection), self.scales, device=self.device)
            everyone = range(len(collection))
            measured = self.photo_model(*everyone).with_amplitudes(self.pyramid(everyone), self.config.noise_factor)
            amplitudes = measured.amplitudes
        self.amplitudes = amplitudes[:, : self.scales]

    @classmethod
    def open(cls, path: str | PathLike, device: str = "auto") -> Model:
        """Open a run folder, or the file of a model that was exported; InputError, in one line, where it is damaged."""
        if Path(path).is_file():
            return cls(*load_exported(path, resolve_device(device)))
        run = Run.open(path)
        collection = run.collection()
        system, amplitudes, _, _ = load_system(run, collection, device=resolve_device(device))
        return cls(system, collection, amplitudes)

    @property
    def scales(self) -> int:
        return self.system.scales

    @property
    def first_drawn(self) -> int:
        """The coarsest scale that noise means something to: 1 where the coarsest has seen altered photos instead."""
        return 0 if self.config.first_input == "noise" else min(1, self.scales - 1)

    @property
    def names(self) -> list[str]:
        return self.collection.names

    def index(self, name: str) -> int:
        """Place of a photo by its name, its file's without folders, or a beginning no other has, else InputError."""
        whole, stem = name.casefold(), Path(name).stem.casefold()
        folded = [own.casefold() for own in self.names]
        for form in (whole,) if os.path.dirname(name) else (whole, stem):
            if form in folded:
                return folded.index(form)
        beginnings = [i for i, own in enumerate(folded) if own.startswith(whole)] if name else []
        if len(beginnings) == 1:
            return beginnings[0]
        close = [self.names[i] for i in beginnings] or difflib.get_close_matches(Path(name).stem, self.names, 4, 0.4)
        problem = "could be any of" if beginnings else "names no photo of this run; it has"
        unseen = not self.config.alone and Path(name).is_file()
        hint = "; for a photo it never saw there is hyperconv adapt" if unseen else ""
        raise InputError(f"{name!r} {problem} {_some(close or self.names)}{hint}")

    def photo_model(self, *photos: str | int) -> PhotoModel:
        """The generators of some photos, named or numbered, as one batch."""
        indices = self._indices(photos)
        sizes = self.collection.sizes_of(indices)[: self.scales]
        return self.system.photo_model(self.contexts(*photos), sizes, self.amplitudes[indices])

    def contexts(self, *photos: str | int) -> Tensor:
        """What the generators' weights of some photos are made from."""
        return self.system.contexts(self.collection, torch.tensor(self._indices(photos)))

    def photo(self, photo: str | int, scale: int = -1) -> Tensor:
        """A photo as the model is to know it, (C, H, W) in [-1, 1], at one scale (default: the finest)."""
        return self.pyramid([photo])[scale][0]

    def pyramid(self, photos: Iterable[str | int]) -> list[Tensor]:
        """Some photos at every scale, coarse to fine: one canvas (B, C, H, W) each."""
        indices = self._indices(photos)
        return [self.collection.batch(indices, scale).images for scale in range(self.scales)]

    def critic(self, photo: str | int, scale: int) -> tuple[Discriminator, WeightSet]:
        """A photo's critic for one scale, its template and weights: the finest one's, if it is of that scale's kind.

        Where critics grow with the scales and those below are not kept, one that has learned nothing.
        """
        index = self._indices([photo])
        if not self.config.alone:
            network = self.system.discriminator
            squares = self.collection.embedding_inputs(index, self.config.embedding_size)
            return self.system.discriminator_template, network.weights(network.embed(squares), 0)
        template = critic_template(self.config, self.system.channels, scale)
        if template.stack.layout == self.system.discriminator.layout:
            return template, self.system.discriminator.weights(torch.tensor(index))
        fresh = template.stack.initial(seeded(self.device, self.config.seed, "critic", scale))
        return template, WeightSet(template.stack.layout, fresh[None])

    def with_photos(self, photos: Sequence[Photo]) -> Model:
        """The same system looking at other photos, which it need never have seen. InputError where it cannot."""
        if self.config.alone:
            raise InputError(
                f"this {self.config.system} model knows its own photos only ({_some(self.names)}): "
                "train it on this photo, or take a run of --system meta"
            )
        return Model(self.system, Collection(photos, self.config.pyramid(), self.system.channels))

    def find(self, reference: str | int | PathLike) -> tuple[Model, int]:
        """A photo by its name or place here or by its file: the model that holds it, and its place there."""
        if isinstance(reference, int):
            return self, reference
        if str(reference) not in self.names and Path(reference).is_file():
            return self.with_photos([read_photo(reference)]), 0
        return self, self.index(str(reference))

    def find_all(self, references: Iterable[str | PathLike]) -> list[Found]:
        """`find` for each, under the names that their files get."""
        found = [self.find(reference) for reference in references]
        names = unique_names([holder.names[index] for holder, index in found])
        return [Found(holder, index, name) for (holder, index), name in zip(found, names)]

    def adapt(
        self,
        photo: Photo,
        tune_steps: int = 0,
        on_step: OnEach = None,
        tuning: Tuned = "weights",
    ) -> PhotoModel:
        """The generators of a photo the system never saw; see `hyperconv.apps.adapt.adapt`."""
        return self.with_photos([photo]).tuned(0, tune_steps, on_step, tuning)

    def tuned(
        self,
        photo: str | int,
        steps: int,
        on_step: OnEach = None,
        tuning: Tuned = "weights",
    ) -> PhotoModel:
        """The generators of one photo after some training on it alone.

        tuning: 'weights', `steps` steps per scale on its own weight sets; or 'embedding', `steps` steps of all scales
        together on what the hypernetwork generates them from. on_step(taken, all) is called after every step. 0 steps:
        what the hypernetwork gives.
        """
        if tuning not in get_args(Tuned):
            raise InputError(f"tuning is {tuning!r}: choose 'weights' or 'embedding'")
        if steps < 0:
            raise InputError(f"steps is {steps}: tuning takes 0 or more")
        photo_model, pyramid = self.photo_model(photo), self.pyramid([photo])
        if steps == 0:
            return photo_model
        critic, total = self.critic(photo, self.scales - 1), steps * (self.scales if tuning == "weights" else 1)
        if tuning == "weights":
            stages = tune(photo_model, *critic, pyramid, steps, self.config)
        else:
            stages = tune_context(
                self.contexts(photo), partial(self._generated, photo_model), *critic, pyramid, steps, self.config
            )
        for taken, photo_model in stages:
            if on_step is not None:
                on_step(taken, total)
        with torch.no_grad():
            return photo_model.with_amplitudes(pyramid, self.config.noise_factor)

    def _generated(self, photo_model: PhotoModel, context: Tensor) -> PhotoModel:
        """The model with the weights that the hypernetwork makes of another context."""
        generator = self.system.generator
        context = generator.normalise(context)
        return replace(photo_model, weights=[generator.weights(context, scale) for scale in range(self.scales)])

    def export(self, photo: str | int, photo_model: PhotoModel, path: str | PathLike) -> None:
        """Write the model of one photo as a file of its own, which `open` opens. Only of a meta-GAN."""
        (index,) = self._indices([photo])
        _, critic = self.critic(photo, self.scales - 1)
        export(path, self.config, self.collection.select(index), photo_model, critic)

    def _indices(self, photos: Iterable[str | int]) -> list[int]:
        return [photo if isinstance(photo, int) else self.index(photo) for photo in photos]


class Found(NamedTuple):
    """A photo that was asked for: the model that holds it, its place there, a name that no other one found has."""

    model: Model
    index: int
    name: str


def _some(names: Sequence[str], most: int = 6) -> str:
    listed = ", ".join(names[:most])
    return f"{listed}, … ({len(names)} in all)" if len(names) > most else listed

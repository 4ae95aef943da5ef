"""A picture into a photo's generators: its structure from outside, everything finer from the photo.

SinGAN and the meta-GAN carry images from scale to scale, so a picture enters below any scale but the coarsest, as if
the scales under it had made it. ConSinGAN carries features: a picture enters where images do, at its coarsest scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.apps.model import Model
from hyperconv.apps.sample import noise_of
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.images import Photo, find_photos, read_photo, resize, save_png, unique_names, with_channels
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing
from hyperconv.gan.noise import seeded
from hyperconv.gan.photo_model import Carried, PhotoModel


def injected(photo_model: PhotoModel, picture: Tensor, start_scale: int, seed: int = 0) -> Tensor:
    """The picture (C, h, w) in [-1, 1] as the model of one photo draws it, in the size of its finest scale.

    start_scale: the first scale that draws, as `start_scale_for` gives it.
    """
    return drawn_on(photo_model, entered(photo_model, picture, start_scale, seed), seed)


@torch.no_grad()
def drawn_on(photo_model: PhotoModel, carried: Carried, seed: int) -> Tensor:
    """What the scales above make of what is carried, one image (C, H, W) in [-1, 1]."""
    noise = noise_of([seeded(photo_model.device, seed, "inject")])
    return photo_model.images(photo_model.climb(carried, noise))[0].clamp(-1, 1)


@torch.no_grad()
def entered(photo_model: PhotoModel, picture: Tensor, start_scale: int, seed: int) -> Carried:
    """What the scale below `start_scale` carries if the picture is what it made."""
    at = photo_model.grid(max(0, start_scale - 1))
    small = resize(picture, at.extent)[None]
    if photo_model.generator.carries_images:
        return photo_model.carry(small, at, start_scale - 1)
    noise = photo_model.z(1, seeded(photo_model.device, seed, "picture"))
    return photo_model.begin(small + photo_model.generator.picture_noise * noise)


def start_scale_for(model: Model, wanted: int | None, depth: float) -> int:
    """The scale from which to draw: the one wanted, or `depth` of the way from the coarsest to the finest.

    InputError where no picture can enter there.
    """
    scales, config = model.scales, model.config
    if model.system.generator_template.carries_images:
        if scales < 2:
            raise InputError("this run has one scale only: a picture enters below a scale that is not the coarsest")
        if wanted is None:
            return min(scales - 1, max(1, round(depth * (scales - 1))))
        if not 1 <= wanted < scales:
            raise InputError(f"start scale {wanted} is not among the scales 1 to {scales - 1} a picture can enter at")
        return wanted
    if wanted not in (None, 0):
        raise InputError(
            f"start scale {wanted} cannot be had: {config.system} carries features from scale to scale, so a picture "
            "enters at the coarsest only; leave --start-scale out"
        )
    if config.first_input == "noise" and config.fixed_input == "noise":
        raise InputError(
            f"the coarsest scale of this {config.system} run has seen noise alone, no image: train one with "
            "--preset tiny-harmonize or tiny-edit"
        )
    return 0


def as_model_sees(model: Model, picture: Tensor) -> Tensor:
    """A picture (1 or 3, h, w) with the model's channels, on its device."""
    return with_channels(picture, model.system.channels).to(model.device)


class Written(NamedTuple):
    """The files of a result, and remarks on what went into it, one line each."""

    image: Path
    sheet: Path
    remarks: list[str]


def read_pictures(paths: Iterable[str | PathLike]) -> list[Photo]:
    """The pictures among files and folders, under names that differ. InputError where one cannot be read."""
    pictures = [read_photo(path) for path in find_photos(paths)]
    names = unique_names([picture.name for picture in pictures])
    return [replace(picture, name=name) for picture, name in zip(pictures, names)]


def as_picture(given: Photo | str | PathLike) -> Photo:
    """A picture, read where it is named by its file."""
    return given if isinstance(given, Photo) else read_photo(given)


def drawn_files(name: str, picture: Photo, folder: str | PathLike) -> tuple[Path, Path]:
    """Where `write_drawn` puts what a photo of this name makes of a picture: the image, and the sheet beside it."""
    stem = f"{name}-{picture.name}"
    return Path(folder) / f"{stem}.png", Path(folder) / f"{stem}_sheet.png"


def write_drawn(
    model: Model,
    name: str | PathLike | int,
    picture: Photo,
    folder: str | PathLike,
    headings: Sequence[str],
    draw: Callable[[Model, int, Tensor], list[Tensor]],
    remarks: list[str],
    force: bool,
) -> Written:
    """FOLDER/NAME-PICTURE.png of what is drawn from a picture, and a sheet beside it.

    draw: of the model that holds the photo, its place there and the picture (C, h, w), the images under the headings of
    the sheet, the result last. InputError where one of the files is there already, unless `force`.
    """
    holder, index = model.find(name)
    image, sheet = drawn_files(holder.names[index], picture, folder)
    refuse_existing([image, sheet], force)
    shown = draw(holder, index, picture.pixels)
    save_png(shown[-1], image)
    contact_sheet([(image.stem, shown)], headings, sheet)
    return Written(image, sheet, [f"{picture.path}: {note}" for note in picture.notes] + remarks)

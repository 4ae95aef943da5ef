"""Harmonisation and editing: what was pasted into a photo, or moved in it, made to look as if it belonged there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, NamedTuple

from torch import Tensor

from hyperconv.apps.inject import Written, as_model_sees, as_picture, injected, start_scale_for, write_drawn
from hyperconv.apps.model import Model
from hyperconv.data.images import Photo, resize
from hyperconv.data.mask import read_mask, soft_mask
from hyperconv.errors import InputError
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.retrain import fine_tune
from hyperconv.progress import OnEach

STRETCH = 1.1  # of a composite's shape against its photo's, at most


class Kind(NamedTuple):
    """What tells the two apart: the mask's dilation (pixels at 250 px), how deep in the pyramid a picture enters."""

    radius: float
    depth: float


HARMONIZE = Kind(radius=7, depth=0.75)
EDIT = Kind(radius=20, depth=0.5)


class Blend(NamedTuple):
    """All of one size (C, H, W) in [-1, 1]: the photo, the picture as given, the generators' version, and what of it
    the mask (1, H, W) let through."""

    photo: Tensor
    picture: Tensor
    drawn: Tensor
    result: Tensor
    mask: Tensor


def harmonize(
    model: Model,
    name: str | int | PathLike,
    composite: Tensor,
    mask: Tensor,
    *,
    start_scale: int | None = None,
    seed: int = 0,
    fine_tune_steps: int = 0,
    on_step: OnEach = None,
) -> Blend:
    """A photo with something pasted into it (C, h, w), in the photo's own style.

    mask: (h, w) of 0 and 1, 1 where something was pasted, of any size. Outside it (dilated by a disk of 7 pixels at
    250 px, blurred) the result is the photo. start_scale: the first scale that draws; a coarser one changes more.
    fine_tune_steps: of training on the composite before, ConSinGAN only. InputError where the run cannot do it.
    """
    return _blend(model, name, composite, mask, HARMONIZE, start_scale, seed, fine_tune_steps, on_step)


def edit(
    model: Model,
    name: str | int | PathLike,
    edited: Tensor,
    mask: Tensor,
    *,
    start_scale: int | None = None,
    seed: int = 0,
    fine_tune_steps: int = 0,
    on_step: OnEach = None,
) -> Blend:
    """A photo with parts moved or copied by hand (C, h, w), without the seams.

    As `harmonize`; the disk has 20 pixels.
    """
    return _blend(model, name, edited, mask, EDIT, start_scale, seed, fine_tune_steps, on_step)


def _blend(
    model: Model,
    name: str | int | PathLike,
    picture: Tensor,
    mask: Tensor,
    kind: Kind,
    start_scale: int | None,
    seed: int,
    fine_tune_steps: int,
    on_step: OnEach,
) -> Blend:
    if fine_tune_steps < 0:
        raise InputError(f"fine_tune_steps is {fine_tune_steps}: it must be 0 or more")
    start_scale = start_scale_for(model, start_scale, kind.depth)
    holder, index = model.find(name)
    photo, picture = holder.photo(index), as_model_sees(model, picture)
    size = tuple(photo.shape[1:])
    _check_shape(picture, size)
    photo_model = holder.photo_model(index)
    if fine_tune_steps:
        photo_model = _fine_tuned(model, index, photo_model, photo, picture, fine_tune_steps, on_step)
    drawn = injected(photo_model, picture, start_scale, seed)
    soft = soft_mask(mask.to(model.device), size, kind.radius)
    return Blend(photo, resize(picture, size), drawn, photo + soft * (drawn - photo), soft)


def _check_shape(picture: Tensor, size: tuple[int, int]) -> None:
    height, width = picture.shape[1:]
    stretch = math.log(height / width * size[1] / size[0])
    if abs(stretch) > math.log(STRETCH):
        raise InputError(
            f"the picture is {height}x{width} and the photo, as trained, {size[0]}x{size[1]} (height x width): "
            "they must have the same shape, as the picture is the photo with something changed in it"
        )


def _fine_tuned(
    model: Model, index: int, photo_model: PhotoModel, photo: Tensor, picture: Tensor, steps: int, on_step: OnEach
) -> PhotoModel:
    if photo_model.generator.carries_images:
        raise InputError(
            f"fine-tuning on a composite is ConSinGAN's: a run of --system {model.config.system} cannot be; "
            "leave --fine-tune out"
        )
    critic = model.critic(index, model.scales - 1)
    picture = resize(picture, photo_model.extent(0))[None]
    tuned = photo_model
    for taken, tuned in fine_tune(photo_model, *critic, photo[None], picture, steps, model.config):
        if on_step is not None:
            on_step(taken, steps)
    return tuned


def write_harmonized(
    model: Model,
    name: str | PathLike | int,
    composite: Photo | str | PathLike,
    mask: str | PathLike,
    folder: str | PathLike,
    *,
    force: bool = False,
    **options,
) -> Written:
    """`harmonize` of files: FOLDER/PHOTO-COMPOSITE.png, and a sheet of every step beside it.

    options: those of `harmonize`. InputError for files that cannot be used, or are there already without `force`.
    """
    headings = ("photo", "pasted", "mask", "drawn", "harmonized")
    return _write(harmonize, model, name, composite, mask, folder, headings, force, options)


def write_edited(
    model: Model,
    name: str | PathLike | int,
    edited: Photo | str | PathLike,
    mask: str | PathLike,
    folder: str | PathLike,
    *,
    force: bool = False,
    **options,
) -> Written:
    """`edit` of files: FOLDER/PHOTO-EDITED.png, and a sheet of every step beside it; as `write_harmonized`."""
    headings = ("photo", "edited by hand", "mask", "drawn", "without seams")
    return _write(edit, model, name, edited, mask, folder, headings, force, options)


def _write(
    function: Callable[..., Blend],
    model: Model,
    name: str | PathLike | int,
    given: Photo | str | PathLike,
    mask_path: str | PathLike,
    folder: str | PathLike,
    headings: Sequence[str],
    force: bool,
    options: dict[str, Any],
) -> Written:
    picture, (mask, remarks) = as_picture(given), read_mask(mask_path)
    if mask.shape != picture.pixels.shape[1:]:
        given, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, picture.pixels.shape[1:]))
        remarks.append(f"{mask_path}: {given} (height x width) resized to {wanted}, as the picture is")

    def draw(holder: Model, index: int, pixels: Tensor) -> list[Tensor]:
        blend = function(holder, index, pixels, mask, **options)
        return [blend.photo, blend.picture, 2 * blend.mask - 1, blend.drawn, blend.result]

    return write_drawn(model, name, picture, folder, headings, draw, remarks, force)

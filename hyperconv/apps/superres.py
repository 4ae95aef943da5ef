"""Larger than the photo, with detail that its own model adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from hyperconv.apps.inject import injected, start_scale_for
from hyperconv.apps.model import Model
from hyperconv.apps.sample import check_memory, noise_of, stretched
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.images import resize, save_png
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing
from hyperconv.gan.noise import seeded
from hyperconv.gan.photo_model import PhotoModel

BACK_PROJECTIONS = 4


@torch.no_grad()
def superres(model: Model, name: str | PathLike | int, factor: float, *, seed: int = 0) -> Tensor:
    """A photo, `factor` times as high and wide, with the detail its model adds: (C, H, W) in [-1, 1].

    Where images are carried from scale to scale, as SinGAN: the finest generator on the photo, and again on its own
    result, in steps of nearly the factor between the two finest scales, all alike, so that the last one ends at the
    size wanted. It is published with runs trained for it (reconstruction_weight=100); other generators sharpen what is
    sharp already, and repetition makes streaks of it. On a ConSinGAN's features a repeated body drifts, and colours
    saturate: all its scales are asked for the larger size instead, and the photo enters at the coarsest, large as it
    is. Either way the result is faithful: shrunk, it is the photo. InputError for a factor of no more than 1, or a run
    that cannot do it.
    """
    if not (math.isfinite(factor) and factor > 1):
        raise InputError(f"factor is {factor:g}: super-resolution needs one above 1, for example 4")
    holder, index = model.find(name)
    photo, photo_model = holder.photo(index), holder.photo_model(index)
    check_memory(photo_model, [side * factor for side in photo.shape[1:]])
    if not photo_model.generator.carries_images:
        size = tuple(round(side * factor) for side in photo.shape[1:])
        return faithful(injected(stretched(photo_model, size), photo, start_scale_for(model, None, 0), seed), photo)
    _check_finished(model)
    return _repeated(photo_model, photo, factor, seed)


def _check_finished(model: Model) -> None:
    wanted = model.config.scale_count
    if model.scales < max(2, wanted):
        raise InputError(
            f"this run has {model.scales} of {wanted} scales: super-resolution repeats the finest of at least two; "
            "finish it with hyperconv train --resume, or train with more scales"
        )


def _repeated(photo_model: PhotoModel, photo: Tensor, factor: float, seed: int) -> Tensor:
    larger, finest = _extended(photo_model, factor), photo_model.scales - 1
    carried = photo_model.carry(photo[None], photo_model.grid(finest), finest)
    noise = noise_of([seeded(photo.device, seed, "superres")])
    while carried.scale + 1 < larger.scales:
        carried = larger.next(carried, noise)
        carried = carried._replace(values=faithful(carried.values[0], photo)[None])
    return carried.values[0]


def faithful(image: Tensor, photo: Tensor) -> Tensor:
    """An image (C, H, W) in [-1, 1], changed so that it is the photo (C, h, w) when shrunk: only finer detail stays.

    Back-projection (Irani and Peleg, 1991): what is missing of the photo is enlarged and added, a few times over.
    """
    for _ in range(BACK_PROJECTIONS):
        missing = photo - resize(image, tuple(photo.shape[1:]))
        image = (image + 2 * resize(missing / 2, tuple(image.shape[1:]))).clamp(-1, 1)
    return image


def _extended(photo_model: PhotoModel, factor: float) -> PhotoModel:
    """The model of one photo with its finest scale once more for each step to `factor` times the size."""
    own = photo_model.sizes[-1].double()
    step = (own / photo_model.sizes[-2]).log().mean().item()
    steps = max(1, round(math.log(factor) / step)) if step > 0 else 1
    sizes = [(own * factor ** (number / steps)).round().long() for number in range(1, steps + 1)]
    return replace(
        photo_model,
        weights=photo_model.weights + photo_model.weights[-1:] * steps,
        amplitudes=torch.cat([photo_model.amplitudes, photo_model.amplitudes[:, -1:].expand(-1, steps)], dim=1),
        sizes=photo_model.sizes + sizes,
        fixed=photo_model.fixed + [None] * steps,
        extents=None,
        trained=photo_model.sizes + photo_model.sizes[-1:] * steps,
    )


def write_superres(
    model: Model, names: Sequence[str], folder: str | PathLike, factor: float, *, seed: int = 0, force: bool = False
) -> Path:
    """`superres` for each name: FOLDER/NAME_xFACTOR.png, and a sheet xFACTOR_sheet.png (returned).

    The sheet shows each photo, plainly enlarged, and the result. InputError where one of these files is there already,
    unless `force`.
    """
    folder, found = Path(folder), model.find_all(names)
    paths = [folder / f"{name}_x{factor:g}.png" for _, _, name in found]
    refuse_existing([*paths, folder / f"x{factor:g}_sheet.png"], force)
    rows = []
    for (holder, index, name), path in zip(found, paths):
        result, photo = superres(holder, index, factor, seed=seed), holder.photo(index)
        save_png(result, path)
        rows.append((name, [photo, resize(photo, tuple(result.shape[1:])), result]))
    contact_sheet(rows, ("photo", "enlarged (bicubic)", "super-resolution"), folder / f"x{factor:g}_sheet.png")
    return folder / f"x{factor:g}_sheet.png"

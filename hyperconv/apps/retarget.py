"""A photo at another size and shape: its layout stretched or drawn anew, its texture as large as it was."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from torch import Tensor

from hyperconv.apps.model import Model
from hyperconv.apps.sample import image_paths, remove_images, sample, write_images
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.images import resize
from hyperconv.files import refuse_existing


def retarget(
    model: Model,
    name: str | int,
    size: tuple[int, int],
    count: int = 1,
    *,
    seed: int = 0,
    new_layout: bool | None = None,
) -> list[Tensor]:
    """`count` versions (C, *size) in [-1, 1] of one photo of the model at `size` (height, width) in pixels.

    The coarsest reconstruction is stretched to the new shape and all finer scales are drawn anew, so things keep
    their place and textures their size. new_layout: the coarsest scale is drawn, too. None: that is for ConSinGAN, as
    published. The features that it carries are those of noise, of any size, or those of the photo, of its own size: it
    knows no stretched ones, and its textures fade on them. InputError for an unknown name or a side under 11 pixels.
    """
    if new_layout is None:
        new_layout = model.first_drawn == 0 and not model.system.generator_template.carries_images
    start_scale = 0 if new_layout else min(1, model.scales - 1)
    return sample(model, name, count, seed=seed, size=size, start_scale=start_scale)


def write_retargeted(
    model: Model,
    names: Sequence[str],
    folder: str | PathLike,
    size: tuple[int, int],
    count: int = 1,
    *,
    seed: int = 0,
    new_layout: bool | None = None,
    force: bool = False,
) -> Path:
    """`retarget` for each name: FOLDER/NAME_HxW_01.png ... and a sheet HxW_sheet.png (returned).

    The sheet shows each photo, the photo resized, and the results. InputError where one of these files is there
    already, unless `force`.
    """
    folder, shape = Path(folder), f"{size[0]}x{size[1]}"
    names = [model.names[model.index(name)] for name in names]
    files = [path for name in names for path in image_paths(folder, f"{name}_{shape}", count)]
    refuse_existing([*files, folder / f"{shape}_sheet.png"], force)
    rows = []
    for name in names:
        images = retarget(model, name, size, count, seed=seed, new_layout=new_layout)
        if force:
            remove_images(folder, f"{name}_{shape}")
        write_images(images, folder, f"{name}_{shape}")
        photo = model.photo(name)
        rows.append((name, [photo, resize(photo, size), *images[:4]]))
    contact_sheet(rows, ("photo", "resized", "retargeted"), folder / f"{shape}_sheet.png")
    return folder / f"{shape}_sheet.png"

"""New images of a photo: at any size, from noise alone or from the photo's own coarse layout."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from hyperconv.apps.model import Model
from hyperconv.apps.sheet import PHOTO_HEADINGS, contact_sheet, photo_rows
from hyperconv.data.images import save_png
from hyperconv.data.pyramid import MIN_SIDE
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing
from hyperconv.gan.memory import free_bytes, gigabytes
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.photo_model import Carried, Noise, PhotoModel

AT_ONCE = 8  # samples in one batch, at most
PIXELS_AT_ONCE = 2**20  # of all samples in one batch, unless one alone has more
SHEET_PHOTOS, SHEET_SAMPLES = 24, 24  # most photos, and samples of each, on a sheet


def sample(
    model: Model,
    name: str | int,
    count: int = 1,
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    start_scale: int | None = None,
) -> list[Tensor]:
    """`count` random images (C, H, W) in [-1, 1] of one photo of the model.

    size: (height, width) in pixels, at least 11 each; default the photo's. start_scale K keeps what the scales
    below K reconstruct of the photo and draws the scales from K on; 0 draws everything. None is 0, or 1 for a
    ConSinGAN whose coarsest scale has seen altered photos, not noise. InputError for an unknown name, a size or a
    scale that cannot be.
    """
    photo_model = model.photo_model(name)
    start_scale = model.first_drawn if start_scale is None else start_scale
    check_start_scale(photo_model, start_scale)
    kept = None
    if start_scale > 0:
        with torch.no_grad():
            kept = photo_model.climb_fixed(stop=start_scale)
    if size is not None:
        photo_model = stretched(photo_model, size)
    return draw(photo_model, count, seed=seed, kept=kept)


def check_start_scale(photo_model: PhotoModel, start_scale: int, least: int = 0) -> None:
    """InputError where it is no scale to start from."""
    if not least <= start_scale < photo_model.scales:
        raise InputError(
            f"start scale {start_scale} is not among the scales {least} to {photo_model.scales - 1} of this run"
        )


def stretched(photo_model: PhotoModel, size: tuple[int, int]) -> PhotoModel:
    """The model of one photo asked for images of `size` (height, width): every scale is stretched alike."""
    if min(size) < MIN_SIDE:
        raise InputError(f"a size of {size[0]}x{size[1]} pixels is too small: each side must have at least {MIN_SIDE}")
    check_memory(photo_model, size)
    finest = photo_model.sizes[-1]
    target = finest.new_tensor([size])
    stretched = [(sizes * target / finest).round().long().clamp(min=1) for sizes in photo_model.sizes]
    return photo_model.resized(stretched)


def check_memory(photo_model: PhotoModel, size: Sequence[float]) -> None:
    """InputError where not even what goes into and out of one layer for an image of `size` fits into free memory."""
    layout, free = photo_model.weights[-1].layout, free_bytes(photo_model.device)
    channels = max(shape[0] for shape in layout.shapes.values())
    needed = 2 * 4 * channels * size[0] * size[1]
    if free is not None and needed > free:
        raise InputError(
            f"an image of {size[0]:.0f}x{size[1]:.0f} pixels needs {gigabytes(needed)} and more, and "
            f"{gigabytes(free)} of memory are free: ask for a smaller one"
        )


@torch.no_grad()
def draw(photo_model: PhotoModel, count: int, *, seed: int = 0, kept: Carried | None = None) -> list[Tensor]:
    """`count` images (C, H, W) of the model of one photo; image i depends on the seed and i alone.

    kept: what the scales below the first one drawn carry, one row; None draws them all.
    """
    images: list[Tensor] = []
    height, width = photo_model.extent(photo_model.scales - 1)
    at_once = max(1, min(AT_ONCE, PIXELS_AT_ONCE // (height * width)))
    for first in range(0, count, at_once):
        sources = [seeded(photo_model.device, seed, "sample", i) for i in range(first, min(first + at_once, count))]
        images += _draw(photo_model, sources, kept).clamp(-1, 1)
    return images


def _draw(photo_model: PhotoModel, sources: list[torch.Generator], kept: Carried | None) -> Tensor:
    """One image per source of noise (N, C, H, W)."""
    if kept is None:
        carried = photo_model.begin(torch.cat([photo_model.z(1, source) for source in sources]))
    else:
        carried = kept.repeated(len(sources))
    return photo_model.images(photo_model.climb(carried, noise_of(sources)))


def noise_of(sources: Sequence[torch.Generator]) -> Noise:
    """White noise whose row i comes from source i."""

    def noise(shape: tuple[int, ...], scale: int) -> Tensor:
        return torch.cat([white((1, *shape[1:]), source) for source in sources])

    return noise


@torch.no_grad()
def reconstruct(photo_model: PhotoModel) -> Tensor:
    """The photo (C, H, W) as its model knows it."""
    return photo_model.reconstruct()[0].clamp(-1, 1)


def write_samples(
    model: Model,
    names: Sequence[str],
    folder: str | PathLike,
    count: int,
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    start_scale: int | None = None,
    force: bool = False,
) -> Path:
    """`sample` for each name: FOLDER/NAME_01.png ... and a sheet of the first ones (returned).

    InputError where one of these files is there already, unless `force`: then an earlier draw is removed.
    """
    folder, drawn = Path(folder), []
    names = [model.names[model.index(name)] for name in names]
    files = [path for name in names for path in image_paths(folder, name, count)]
    refuse_existing([*files, folder / "sheet.png"], force)
    for name in names:
        images = sample(model, name, count, seed=seed, size=size, start_scale=start_scale)
        if force:
            remove_images(folder, name)
        write_images(images, folder, name)
        if len(drawn) < SHEET_PHOTOS:
            drawn.append((name, images[:SHEET_SAMPLES]))
    lines = [
        line
        for name, images in drawn
        for line in photo_rows(name, model.photo(name), reconstruct(model.photo_model(name)), images)
    ]
    contact_sheet(lines, PHOTO_HEADINGS, folder / "sheet.png")
    return folder / "sheet.png"


def write_images(images: Sequence[Tensor], folder: str | PathLike, stem: str) -> None:
    """FOLDER/STEM_01.png, FOLDER/STEM_02.png, ..."""
    for path, image in zip(image_paths(folder, stem, len(images)), images):
        save_png(image, path)


def remove_images(folder: str | PathLike, stem: str) -> None:
    """Remove what `write_images` wrote before: it may have been more."""
    for path in Path(folder).glob(f"{glob.escape(stem)}_*.png"):
        if re.fullmatch(r"_\d\d+", path.stem.removeprefix(stem)):
            path.unlink()


def image_paths(folder: str | PathLike, stem: str, count: int) -> list[Path]:
    """Where `write_images` writes `count` images."""
    digits = max(2, len(str(count)))
    return [Path(folder) / f"{stem}_{number:0{digits}}.png" for number in range(1, count + 1)]

"""Images of a run's photos that were made elsewhere: another method's samples, another run's, held-out photos."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from torch import Tensor

from hyperconv.data.images import find_photos, read_photo
from hyperconv.errors import InputError


def find_images(folder: str | PathLike, names: Sequence[str]) -> dict[str, list[Path]]:
    """The image files in `folder` of each photo of these names: NAME.png, NAME_*.png and all images in NAME/.

    Any image format and case; in natural order. A file that fits several names is of the longest one. InputError
    where there is no such folder or nothing in it is of any of the photos.
    """
    folder, found = Path(folder), {name: [] for name in names}
    if not folder.is_dir():
        raise InputError(f"{folder}: {'a file, not' if folder.exists() else 'no such'} folder; it is to hold images")
    for file in _images(folder):
        owner = _owner(file.stem, names)
        if owner is not None:
            found[owner].append(file)
    inner = {path.name.casefold(): path for path in folder.iterdir() if path.is_dir()}
    for name in names:
        if name.casefold() in inner:
            found[name] += _images(inner[name.casefold()])
    if not any(found.values()):
        raise InputError(
            f"{folder}: holds no image of any photo here; name them as {names[0]}.png, {names[0]}_1.png "
            f"or {names[0]}/1.png"
        )
    return found


def read_images(files: Sequence[Path], channels: int, least: int) -> tuple[list[Tensor], list[str]]:
    """Images (channels, H, W) in [-1, 1], and a line for each file that is none or has a side under `least` pixels."""
    images, problems = [], []
    for file in files:
        try:
            pixels = read_photo(file, channels).pixels
        except InputError as error:
            problems.append(f"left out: {error}")
            continue
        height, width = pixels.shape[1:]
        if min(height, width) < least:
            problems.append(f"left out: {file}: {height}x{width} pixels; the scores need {least} a side")
        else:
            images.append(pixels)
    return images, problems


def _images(folder: Path) -> list[Path]:
    try:
        return find_photos(folder)
    except InputError:  # none
        return []


def _owner(stem: str, names: Sequence[str]) -> str | None:
    stem = stem.casefold()
    fitting = [name for name in names if stem == name.casefold() or stem.startswith(f"{name.casefold()}_")]
    return max(fitting, key=len, default=None)

"""Images of a run's photos that were made elsewhere: another method's samples, another run's, held-out photos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from torch import Tensor

from hyperconv.data.images import find_photos, read_photo
from hyperconv.errors import InputError


def find_images(folder: str | PathLike, names: Sequence[str]) -> dict[str, list[Path]]:
    """The image files in `folder` of each photo of these names: all in NAME/, or else NAME.png and NAME_1.png, ...

    Any image format and case; in natural order; sheet.png is passed over. lake_01.png is of the photo lake_01, unless
    there is lake_01_01.png, too: then it is one of lake's. InputError where there is no such folder or nothing in it is
    of any of the photos.
    """
    folder, found = Path(folder), {name: [] for name in names}
    if not folder.is_dir():
        raise InputError(f"{folder}: {'a file, not' if folder.exists() else 'no such'} folder; it is to hold images")
    files = [file for file in _images(folder) if file.stem.casefold() != "sheet"]
    for file, owner in zip(files, _owners([file.stem for file in files], names)):
        if owner is not None:
            found[owner].append(file)
    inner = {path.name.casefold(): path for path in folder.iterdir() if path.is_dir()}
    for name in names:
        if name.casefold() in inner:
            found[name] = _images(inner[name.casefold()]) or found[name]
    if not any(found.values()):
        raise InputError(
            f"{folder}: holds no image of any photo here; name them as {names[0]}.png, {names[0]}_1.png "
            f"or {names[0]}/1.png"
        )
    return found


def read_images(files: Sequence[Path], count: int, channels: int, least: int) -> tuple[list[Tensor], list[str]]:
    """The first `count` images (channels, H, W) in [-1, 1], and a line for each file met that is none or too small.

    least: pixels a side.
    """
    images, problems = [], []
    for file in files:
        if len(images) == count:
            break
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


def _owners(stems: Sequence[str], names: Sequence[str]) -> list[str | None]:
    """The photo that each file is of, by the file's name without suffix; None where it is of none."""
    own = {name.casefold(): name for name in names}
    exact = [own.get(stem.casefold()) for stem in stems]
    numbered = [own.get(re.sub(r"_\d+$", "", stem.casefold())) if re.search(r"_\d+$", stem) else None for stem in stems]
    several = set(numbered)
    return [
        whole if one is None or (whole is not None and whole not in several) else one
        for whole, one in zip(exact, numbered)
    ]

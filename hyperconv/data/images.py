"""Photos from files and images to files. Pixels are float32 (C, H, W) in [-1, 1], C = 1 (grey) or 3 (RGB)."""

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hyperconv.errors import InputError
from hyperconv.files import replacing

EXTENSIONS = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass
class Photo:
    """A photo: its name, unique in its set; pixels (C, H, W) in [-1, 1]; its file; remarks, one line each."""

    name: str
    pixels: Tensor
    path: Path | None = None
    notes: list[str] = field(default_factory=list)


def find_photos(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    """The image files among files and folders, each once, in the order given; in a folder in natural order.

    Folders are not searched deeper; hidden files and other extensions in them are passed over.
    InputError for an absent path or a folder without images.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    found = {file.resolve(): file for path in paths for file in _files_of(Path(path))}
    if not found:
        raise InputError("no photos given: name image files or folders of images")
    return list(found.values())


def read_photos(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> tuple[list[Photo], list[str]]:
    """The readable photos among files and folders, with unique names, and one line per unreadable file.

    InputError if none is readable, or as `find_photos`.
    """
    photos, problems = [], []
    for path in find_photos(paths):
        try:
            photos.append(read_photo(path))
        except InputError as error:
            problems.append(str(error))
    if not photos:
        count = "" if len(problems) == 1 else f" (and {len(problems) - 1} more, none readable)"
        raise InputError(problems[0] + count)
    for photo, name in zip(photos, unique_names([photo.name for photo in photos]), strict=True):
        photo.name = name
    return photos, problems


def read_photo(path: str | os.PathLike, channels: int | None = None) -> Photo:
    """One photo of any format Pillow opens, upright; channels 1 or 3, or None for the file's own.

    16-bit and float images keep their precision; alpha is composited over white. InputError, naming the file
    in one line, if it is absent, broken or no image.
    """
    path, notes = Path(path), []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    notes.append(f"the first of {image.n_frames} frames")
                pixels = _pixels(_upright(image, notes), notes)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image, or of an unknown format") from None
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise InputError(f"{path}: more than {limit:.0f} million pixels; make it smaller first") from None
    except Exception as error:  # noqa: BLE001 - a decoder fails in its own way on every kind of damage
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason})") from None
    return Photo(path.stem, pixels if channels is None else with_channels(pixels, channels), path, notes)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, repeated ones with -2, -3, ... appended; different as file names on any system."""
    taken, result = {name.casefold() for name in names}, []
    used = set()
    for name in names:
        unique, number = name, 2
        if name.casefold() in used:
            while (unique := f"{name}-{number}").casefold() in taken:
                number += 1
        taken.add(unique.casefold())
        used.add(unique.casefold())
        result.append(unique)
    return result


def common_channels(photos: Sequence[Photo]) -> int:
    """1 if every photo is grey, else 3."""
    return max(photo.pixels.shape[0] for photo in photos)


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Pixels (..., 1 or 3, H, W) as grey (channels=1, BT.601 luma) or RGB (channels=3, three equal ones)."""
    own = pixels.shape[-3]
    if own not in (1, 3) or channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got pixels with {own} and channels={channels}")
    if own == channels:
        return pixels
    if channels == 3:
        return pixels.repeat_interleave(3, dim=-3)
    return (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (..., C, H, W) at size (height, width): antialiased bicubic in [-1, 1]; new, float32."""
    pixels, size = pixels.float(), tuple(size)
    if pixels.shape[-2:] == size:
        return pixels.clone(memory_format=torch.contiguous_format)
    batch = pixels.reshape(-1, *pixels.shape[-3:])
    resized = F.interpolate(batch, size, mode="bicubic", antialias=True).clamp(-1, 1)
    return resized.reshape(*pixels.shape[:-2], *size).contiguous()


def to_uint8(pixels: Tensor) -> Tensor:
    """[-1, 1] -> 0..255 uint8, rounded; the exact inverse of reading an 8-bit image."""
    return ((pixels.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def save_png(pixels: Tensor, path: str | os.PathLike) -> None:
    """Write pixels (1 or 3, H, W) as a PNG, complete or not at all; missing folders are made."""
    if pixels.dim() != 3 or pixels.shape[0] not in (1, 3):
        raise ValueError(f"pixels must be (1, H, W) or (3, H, W), got {tuple(pixels.shape)}")
    array = to_uint8(pixels).cpu().permute(1, 2, 0).numpy()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array).save(temporary, format="png")


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        return [path]
    files = [file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS and file.is_file()]
    files = sorted((file for file in files if not file.name.startswith(".")), key=_natural)
    if not files:
        raise InputError(f"{path}: the folder holds no images (png, jpg, webp, tif, ...)")
    return files


def _natural(path: Path) -> list:
    """photo before photo2 before photo10."""
    parts = re.split(r"(\d+)", path.stem.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-1, path.name)]


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - damaged metadata around intact pixels
        notes.append("unreadable EXIF data ignored")
        return image


def _pixels(image: Image.Image, notes: list[str]) -> Tensor:
    """Any Pillow image -> float32 (1 or 3, H, W) in [-1, 1]."""
    if image.mode.startswith(("I", "F")):
        return _from_unit(_deep_grey(image, notes))
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La")
        values = np.asarray(image.convert("LA" if grey else "RGBA"), np.float32) / 255
        alpha = values[..., -1:]
        if alpha.min() < 1:
            notes.append("alpha composited over white")
        return _from_unit(values[..., :-1] * alpha + (1 - alpha))
    grey = image.mode in ("1", "L")
    return _from_unit(np.asarray(image.convert("L" if grey else "RGB"), np.float32) / 255)


def _deep_grey(image: Image.Image, notes: list[str]) -> np.ndarray:
    """16-bit, 32-bit integer and float grey images as values in [0, 1], at full precision."""
    values = np.asarray(image)
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        raise ValueError("it has values that are not finite")
    full = 1.0 if image.mode == "F" else 65535.0
    if least < 0 or most > full:
        notes.append(f"values {least:g} to {most:g} rescaled to black to white")
        return ((values.astype(np.float64) - least) / max(most - least, 1e-12)).astype(np.float32)
    return values.astype(np.float32) / np.float32(full)


def _from_unit(values: np.ndarray) -> Tensor:
    """(H, W) or (H, W, C) in [0, 1] -> (C, H, W) in [-1, 1]."""
    values = values[..., None] if values.ndim == 2 else values
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1))) * 2 - 1

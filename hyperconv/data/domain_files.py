"""Domains from files: folders of images, MNIST, CIFAR-10 and OMNIGLOT as they are published, scikit-learn's digits."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.data.images import EXTENSIONS, find_photos, read_photo, resize, to_uint8, with_channels
from hyperconv.errors import InputError

DIGITS_HELD_OUT = ("8", "9")  # of the built-in digits, for trying a trained model on domains it never saw
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: a label and an image, plane by plane
IDX_IMAGES, IDX_LABELS = 0x803, 0x801
LEAST = 2  # domains


def read_domains(path: str | os.PathLike, size: int) -> tuple[Domains, list[str]]:
    """The domains in a folder, images squashed to size x size, and one line for each file left out.

    What the folder holds decides: MNIST's idx files (train-images-idx3-ubyte, also .gz), CIFAR-10's binary version
    (data_batch_1.bin ...), else sub-folders of image files, of any depth, each a domain with its path for a name;
    OMNIGLOT's (.../character01/...) are inverted, to light strokes on dark. InputError for anything else.
    """
    known = _known_set(path, size)
    return (known, []) if known else _read_folders(Path(path), size)


def read_images(path: str | os.PathLike, size: int, channels: int | None = None) -> tuple[Domains, list[str]]:
    """All images in a folder and its sub-folders, the middle square of each at size x size; a line for each file left out.

    Each folder that holds images is a domain; those beside the sub-folders have the name of `path`. MNIST's and
    CIFAR-10's files are taken as `read_domains` does. channels: 1 or 3, or None for the images' own.
    """
    known = _known_set(path, size)
    if known is None:
        return _read_folders(Path(path), size, channels, crop=True)
    return known if channels is None else known.with_channels(channels), []


def _known_set(path: str | os.PathLike, size: int) -> Domains | None:
    """MNIST or CIFAR-10, if a folder holds their files. InputError where it is no folder."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such folder")
    if not path.is_dir():
        raise InputError(
            f"{path} is a file: give the folder that holds the data (images, sub-folders of them, MNIST, CIFAR-10)"
        )
    if images := _first(path, r"train-images[.-]idx3-ubyte(\.gz)?"):
        return _read_mnist(images, size)
    if batches := sorted(path.glob("data_batch_*.bin")):
        return _read_cifar10(batches, size)
    if (path / "data_batch_1").exists():
        raise InputError(
            f"{path} is CIFAR-10's Python version, which only unpickling can read: take the binary version"
        )
    return None


def load_digits(size: int) -> Domains:
    """The handwritten digits that ship inside scikit-learn (UCI, 1,797 of 8x8 pixels) as ten domains, enlarged."""
    if find_spec("sklearn") is None:
        raise InputError("the example digits are not installed: pip install 'hyperconv[examples]'")
    from sklearn.datasets import load_digits as load

    data = load()
    pixels = torch.from_numpy(data.images).float()[:, None] / 8 - 1
    return _by_label(to_uint8(resize(pixels, (size, size))), torch.from_numpy(data.target), [str(i) for i in range(10)])


def read_shots(paths: str | os.PathLike | Iterable[str | os.PathLike], count: int, domains: Domains) -> Tensor:
    """The first `count` images among files and folders as `domains` has them, (count, C, S, S) in [-1, 1].

    InputError where there are fewer, or one cannot be read.
    """
    files = find_photos(paths)
    if len(files) < count:
        raise InputError(f"{files[0].parent} holds {len(files)} images and -k asks for {count}: lower it")
    return torch.stack([_read(file, domains.size, domains.channels, domains.inverted) for file in files[:count]])


def _read_folders(root: Path, size: int, channels: int | None = None, crop: bool = False) -> tuple[Domains, list[str]]:
    """Squashed images of sub-folders, two or more; or, to `crop`, the squares of all images, in one folder or many."""
    folders, least = {}, 1 if crop else LEAST
    for file in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if file.suffix.lower() in EXTENSIONS and (crop or file.parent != root) and not hidden:
            folders.setdefault(file.parent, []).append(file)
    if len(folders) < least:
        raise InputError(
            f"{root} holds no images, nor do its sub-folders (png, jpg, webp, tif, ...)"
            if crop
            else f"{root} holds {len(folders)} sub-folders of images: domains are sub-folders, two or more of them"
        )
    inverted = not crop and all(re.fullmatch(r"character\d+", folder.name) for folder in folders)
    domains, problems = {}, []
    for folder, files in folders.items():
        images = []
        for file in files:
            try:
                images.append(_read(file, size, channels, inverted, crop))
            except InputError as error:
                problems.append(f"left out: {error}")
        if images:
            domains[root.resolve().name if folder == root else folder.relative_to(root).as_posix()] = images
    if len(domains) < least:
        raise InputError(
            f"{root} holds no readable images ({problems[0]})"
            if crop
            else f"{root} holds {len(domains)} sub-folders with readable images ({problems[0]}): two are needed"
        )
    channels = max(image.shape[0] for images in domains.values() for image in images)
    packed = {
        name: to_uint8(torch.stack([with_channels(image, channels) for image in images]))
        for name, images in domains.items()
    }
    return Domains(packed, inverted), problems


def read_image(file: str | os.PathLike, domains: Domains) -> Tensor:
    """The middle square of a photo as `domains` has its images, (C, S, S) in [-1, 1]."""
    return _read(Path(file), domains.size, domains.channels, domains.inverted, crop=True)


def _read(file: Path, size: int, channels: int | None, inverted: bool, crop: bool = False) -> Tensor:
    pixels = read_photo(file, channels).pixels
    pixels = resize(_square(pixels) if crop else pixels, (size, size))
    return -pixels if inverted else pixels


def _square(pixels: Tensor) -> Tensor:
    """The middle of (C, H, W)."""
    height, width = pixels.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[:, top : top + side, left : left + side]


def _read_mnist(images: Path, size: int) -> Domains:
    labels = _first(images.parent, r"train-labels[.-]idx1-ubyte(\.gz)?")
    if labels is None:
        raise InputError(f"{images.parent} holds {images.name} without train-labels-idx1-ubyte: put it there too")
    pixels, target = _read_idx(images, IDX_IMAGES), _read_idx(labels, IDX_LABELS)
    if len(pixels) != len(target):
        raise InputError(
            f"{images} holds {len(pixels)} images and {labels} {len(target)} labels: they are not of one set"
        )
    return _by_label(_resized(pixels[:, None], size), target.long(), [str(i) for i in range(10)])


def _read_idx(path: Path, magic: int) -> Tensor:
    """An idx file of bytes: big-endian 32-bit magic number and sizes, then the data."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    dims = magic & 0xFF
    header = np.frombuffer(content[: 4 * (1 + dims)], ">u4")
    if len(header) < 1 + dims or header[0] != magic:
        raise InputError(f"{path}: not an idx file of {'images' if dims == 3 else 'labels'} (magic number {magic:#x})")
    sizes, data = header[1:].astype(int).tolist(), content[4 * (1 + dims) :]
    if len(data) != np.prod(sizes):
        raise InputError(f"{path}: damaged, it has {len(data)} bytes of data where {sizes} need {np.prod(sizes)}")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(sizes)


def _read_cifar10(batches: list[Path], size: int) -> Domains:
    parts = []
    for path in batches:
        content = np.fromfile(path, np.uint8)
        if not len(content) or len(content) % CIFAR_RECORD:
            raise InputError(
                f"{path}: damaged, its {len(content)} bytes are no whole number of {CIFAR_RECORD}-byte records"
            )
        parts.append(torch.from_numpy(content).view(-1, CIFAR_RECORD))
    records = torch.cat(parts)
    return _by_label(_resized(records[:, 1:].reshape(-1, 3, 32, 32), size), records[:, 0].long(), CIFAR10)


def _resized(pixels: Tensor, size: int) -> Tensor:
    """uint8 (N, C, H, W) -> uint8 (N, C, size, size), some thousands at a time."""
    if pixels.shape[2:] == (size, size):
        return pixels
    return torch.cat([to_uint8(resize(part / 127.5 - 1, (size, size))) for part in pixels.split(4096)])


def _by_label(pixels: Tensor, labels: Tensor, names: Iterable[str]) -> Domains:
    names = list(names)
    if int(labels.max()) >= len(names):
        raise InputError(f"a label is {int(labels.max())}: there are {len(names)} classes, from 0 on")
    return Domains({name: pixels[labels == label] for label, name in enumerate(names) if (labels == label).any()})


def _first(folder: Path, pattern: str) -> Path | None:
    return next((file for file in sorted(folder.iterdir()) if re.fullmatch(pattern, file.name)), None)

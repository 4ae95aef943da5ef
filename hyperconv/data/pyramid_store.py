"""Where the pyramids of a collection wait: in memory, or in a file that is read as they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from os import PathLike
from typing import Protocol

import torch
from torch import Tensor

from hyperconv.data.images import Photo, read_photo, resize, unique_names, with_channels
from hyperconv.data.pyramid import MIN_SIDE, PyramidShape, build_pyramid
from hyperconv.data.tensor_file import Damaged, TensorFile, TensorWriter, writing
from hyperconv.errors import InputError
from hyperconv.progress import OnEach

FORMAT = "hyperconv-collection-1"
NOTES = 600  # bytes of remarks on a photo, at most


class PyramidStore(Protocol):
    """The images of N photos, on a device, with one number of channels C."""

    device: torch.device

    def to(self, device: torch.device | str) -> None:
        """Images come from that device from now on."""

    def image(self, photo: int, scale: int) -> Tensor:
        """(C, H, W)."""

    def squares(self, photos: Tensor, size: int) -> Tensor:
        """Photos at their finest, squashed to (B, C, size, size)."""


class InMemory:
    """levels[photo][scale]: (C, H, W) each."""

    def __init__(self, levels: list[list[Tensor]]) -> None:
        self.levels = levels
        self.squashed: dict[int, Tensor] = {}

    @property
    def device(self) -> torch.device:
        return self.levels[0][0].device

    def to(self, device: torch.device | str) -> None:
        self.levels = [[level.to(device) for level in levels] for levels in self.levels]
        self.squashed.clear()

    def image(self, photo: int, scale: int) -> Tensor:
        return self.levels[photo][scale]

    def squares(self, photos: Tensor, size: int) -> Tensor:
        if size not in self.squashed:
            squashed = [resize(levels[-1].cpu(), (size, size)) for levels in self.levels]
            self.squashed[size] = torch.stack(squashed).to(self.device)
        return self.squashed[size][photos.to(self.device)]


class OnDisk:
    """A file of pyramids; it may hold squares of one size, others are made of the finest level.

    An image that has changed since it was written raises InputError as it is read.
    """

    def __init__(self, file: TensorFile, scales: int, channels: int) -> None:
        self.file, self.scales, self.channels = file, scales, channels
        self.device = torch.device("cpu")

    def to(self, device: torch.device | str) -> None:
        self.device = torch.device(device)

    def image(self, photo: int, scale: int) -> Tensor:
        return self._read(level_key(photo, scale)).to(self.device)

    def squares(self, photos: Tensor, size: int) -> Tensor:
        return torch.stack([self._square(photo, size) for photo in photos.tolist()]).to(self.device)

    def _square(self, photo: int, size: int) -> Tensor:
        key = square_key(photo, size)
        if key in self.file.names:
            return self._read(key)
        return resize(self._read(level_key(photo, self.scales - 1)), (size, size))

    def _read(self, key: str) -> Tensor:
        try:
            return with_channels(self.file.tensor(key), self.channels)
        except Damaged as error:
            raise InputError(f"{self.file.path} is damaged ({error}): restore it or train again") from None


class PhotoIntake:
    """Photos on their way into a file of pyramids, one at a time in memory.

    images: files, or photos. square: size of the squares stored beside the pyramids, None for none. on_photo(taken,
    all) is called after each. After `save`, problems has a line for each image that had to be left out.
    """

    def __init__(
        self,
        images: Sequence[PathLike | Photo],
        shape: PyramidShape,
        square: int | None = None,
        on_photo: OnEach = None,
    ) -> None:
        self.images, self.shape, self.square, self.on_photo = list(images), shape, square, on_photo
        self.problems: list[str] = []

    def save(self, path: str | PathLike) -> None:
        """Write what `Collection.load` reads; InputError where no image can be used."""
        keys = [key for photo in range(len(self.images)) for key in self._keys(photo)]
        sources = [str(image.path or image.name) if isinstance(image, Photo) else str(image) for image in self.images]
        about_bytes = sum(3 * len(json.dumps(source)) + NOTES for source in sources)
        names, paths, notes, channels = [], [], [], 1
        with writing(path, keys, about_bytes) as writer:
            for photo in self._usable():
                notes.append(notes_of(photo, self.shape))
                self._add(writer, len(names), photo)
                channels = max(channels, photo.pixels.shape[0])
                names.append(photo.name)
                paths.append(None if photo.path is None else str(photo.path))
            if not names:
                more = f" (and {len(self.problems) - 1} more that cannot be used)" if len(self.problems) > 1 else ""
                raise InputError(self.problems[0] + more)
            names = unique_names(names)
            remarks = [f"{name}: {note}" for name, of_one in zip(names, notes) for note in of_one]
            writer.finish(about(names, paths, remarks, self.shape, channels))

    def _usable(self) -> Iterator[Photo]:
        for taken, image in enumerate(self.images, 1):
            try:
                photo = image if isinstance(image, Photo) else read_photo(image)
                self.shape.sizes(*photo.pixels.shape[1:], name=str(photo.path or photo.name))
                yield photo
            except InputError as error:
                self.problems.append(str(error))
            if self.on_photo is not None:
                self.on_photo(taken, len(self.images))

    def _add(self, writer: TensorWriter, number: int, photo: Photo) -> None:
        levels = build_pyramid(photo.pixels, self.shape.sizes(*photo.pixels.shape[1:]))
        squares = [] if self.square is None else [resize(levels[-1], (self.square, self.square))]
        for key, image in zip(self._keys(number), [*levels, *squares]):
            writer.add(key, image)

    def _keys(self, photo: int) -> list[str]:
        squares = [] if self.square is None else [square_key(photo, self.square)]
        return [*(level_key(photo, scale) for scale in range(self.shape.scale_count)), *squares]


def about(
    names: list[str], paths: list[str | None], notes: list[str], shape: PyramidShape, channels: int
) -> dict[str, str]:
    """What the file says of its photos."""
    entries = {"names": names, "paths": paths, "notes": notes, "shape": asdict(shape), "channels": channels}
    return {"format": FORMAT, "about": json.dumps(entries)}


def read_about(file: TensorFile) -> tuple[dict, PyramidShape]:
    """What `about` wrote; ValueError, KeyError or TypeError where that is something else."""
    if file.about.get("format") != FORMAT:
        raise ValueError("written by something else")
    entries = json.loads(file.about["about"])
    entries.setdefault("channels", file.shape(level_key(0, 0))[0])
    return entries, PyramidShape(**entries.pop("shape"))


def notes_of(photo: Photo, shape: PyramidShape) -> list[str]:
    """Remarks on a photo as it is learned from."""
    height, width = photo.pixels.shape[1:]
    finest = shape.sizes(height, width)[-1]
    was, becomes = f"{width}x{height}", f"{finest[1]}x{finest[0]}"
    if max(height, width) < max(finest):
        return [*photo.notes, f"enlarged from {was} to {becomes}"]
    if max(finest) * min(height, width) < (MIN_SIDE - 0.5) * max(height, width):
        return [*photo.notes, f"widened: {was} is trained as {becomes}"]
    return photo.notes


def level_key(photo: int, scale: int) -> str:
    return f"photo{photo}.scale{scale}"


def square_key(photo: int, size: int) -> str:
    return f"photo{photo}.square{size}"

"""The training set: the pyramids of all photos, in memory or on disk, and batches of them as canvases."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.data import canvas
from hyperconv.data.images import Photo, common_channels, unique_names, with_channels
from hyperconv.data.pyramid import PyramidShape, build_pyramid
from hyperconv.data.pyramid_store import InMemory, OnDisk, PyramidStore, about, level_key, notes_of, read_about
from hyperconv.data.tensor_file import TensorFile, write_tensors
from hyperconv.errors import InputError

WINDOW = 4  # batches, at least, in the run of photos of like shapes that a batch is drawn from


class Batch(NamedTuple):
    """One scale of B photos: their canvas (B, C, H, W), sizes (B, 2), indices (B,) in the collection."""

    images: Tensor
    sizes: Tensor
    indices: Tensor


class Collection:
    """Pyramids of N photos, float32 in [-1, 1], all grey or all RGB.

    names: N unique names; paths: N source paths or None; notes: one-line remarks; shape: the PyramidShape;
    channels: 1 or 3; sizes[scale]: (N, 2) long on the CPU, (height, width) of every photo, coarse to fine.
    on_disk: whether images are read as they are asked for, so that their number does not matter.
    """

    def __init__(self, photos: Sequence[Photo], shape: PyramidShape, channels: int | None = None):
        """channels=None: 1 if every photo is grey, else 3. InputError if one is too small or none given."""
        if not photos:
            raise InputError("no photos to learn from: a collection needs at least one")
        channels = common_channels(photos) if channels is None else channels
        names, levels, notes = unique_names([photo.name for photo in photos]), [], []
        for name, photo in zip(names, photos, strict=True):
            sizes = shape.sizes(*photo.pixels.shape[1:], name=str(photo.path or photo.name))
            levels.append(build_pyramid(with_channels(photo.pixels, channels), sizes))
            notes += [f"{name}: {note}" for note in notes_of(photo, shape)]
        paths = [None if photo.path is None else str(photo.path) for photo in photos]
        sizes = [[level.shape[1:] for level in of_one] for of_one in levels]
        self._fill(names, paths, notes, channels, shape, sizes, InMemory(levels))

    def _fill(
        self,
        names: list,
        paths: list,
        notes: list,
        channels: int,
        shape: PyramidShape,
        sizes: list,
        store: PyramidStore,
    ) -> None:
        """sizes[photo][scale]: (height, width)."""
        self.names, self.paths, self.notes, self.channels, self.shape = names, paths, notes, channels, shape
        self._store = store
        self.on_disk = isinstance(store, OnDisk)
        self.sizes = [torch.tensor(scale) for scale in zip(*sizes)]
        height, width = self.sizes[-1].unbind(1)
        self._upright, self._wide = (height > width).nonzero()[:, 0], (height <= width).nonzero()[:, 0]
        self._slimness = height / width

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        return self._store.device

    def to(self, device: torch.device | str) -> "Collection":
        """Move the images, in place; batches come from there from now on."""
        self._store.to(device)
        return self

    def batch(self, indices: Tensor | Sequence[int], scale: int) -> Batch:
        """The photos `indices` (B,) at one scale, on the collection's device."""
        indices = torch.as_tensor(indices)
        images, sizes = canvas.stack([self._store.image(index, scale) for index in indices.tolist()])
        return Batch(images, sizes, indices.to(self.device))

    def canvases(self, scale: int) -> Callable[[Tensor, tuple[int, int]], Tensor]:
        """What gives the photos `indices` (B,) at a scale on canvases of one extent: (B, C, *extent).

        In memory, all of them wait in one tensor.
        """
        if self.on_disk:
            return lambda indices, extent: canvas.stack(
                [self._store.image(index, scale) for index in indices.tolist()], extent
            )[0]
        everyone = self.batch(range(len(self)), scale).images
        return lambda indices, extent: everyone[:, :, : extent[0], : extent[1]][indices.to(self.device)].contiguous()

    def sizes_of(self, indices: Tensor | Sequence[int]) -> list[Tensor]:
        """Sizes (B, 2) of the photos `indices` at every scale, coarse to fine, on the collection's device."""
        indices = torch.as_tensor(indices).cpu()
        return [sizes[indices].to(self.device) for sizes in self.sizes]

    def embedding_inputs(self, indices: Tensor | Sequence[int], size: int = 128) -> Tensor:
        """The photos `indices` squashed to (B, C, size, size), antialiased."""
        return self._store.squares(torch.as_tensor(indices), size)

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Indices (batch_size,) of different photos for one step; all photos in order if there are no more.

        Every photo is equally likely. A batch is of wide photos or of upright ones as far as they suffice, of like
        shapes where there are many, so that little of the canvas is empty.
        """
        wide, upright = len(self._wide), len(self._upright)
        if len(self) <= batch_size:
            return torch.arange(len(self))
        most, least = min(batch_size, wide), max(0, batch_size - upright)
        share = batch_size * wide / len(self)
        wanted = most if torch.rand((), generator=generator) * (most - least) < share - least else least
        chosen_wide = self._alike(self._wide, wanted, batch_size, generator)
        chosen_upright = self._alike(self._upright, batch_size - wanted, batch_size, generator)
        return torch.cat([chosen_wide, chosen_upright])

    def _alike(self, photos: Tensor, wanted: int, batch_size: int, generator: torch.Generator) -> Tensor:
        """`wanted` of these photos at random, where there are many from among WINDOW batches of neighbours in shape.

        The neighbours begin at any photo, the slimmest following on the widest, so every photo is equally likely.
        """
        window = WINDOW * batch_size
        if len(photos) > window:
            by_shape = photos[self._slimness[photos].argsort(stable=True)]
            begin = torch.randint(len(photos), (), generator=generator)
            photos = by_shape[(begin + torch.arange(window)) % len(photos)]
        return photos[torch.randperm(len(photos), generator=generator)[:wanted]]

    def save(self, path: str | os.PathLike) -> None:
        """Write every level as one safetensors file, complete or not at all."""
        write_tensors(path, self.tensors(), self.about())

    def select(self, photo: int) -> "Collection":
        """One photo alone."""
        levels = [self._store.image(photo, scale) for scale in range(self.shape.scale_count)]
        alone = Collection.__new__(Collection)
        alone._fill(
            [self.names[photo]],
            [self.paths[photo]],
            [],
            self.channels,
            self.shape,
            [[level.shape[1:] for level in levels]],
            InMemory([levels]),
        )
        return alone

    def tensors(self) -> dict[str, Tensor]:
        """Every level by name, as in a file."""
        return {
            level_key(photo, scale): self._store.image(photo, scale)
            for photo in range(len(self))
            for scale in range(self.shape.scale_count)
        }

    def about(self) -> dict[str, str]:
        """What a file with these tensors says of them."""
        return about(self.names, self.paths, self.notes, self.shape, self.channels)

    @classmethod
    def load(cls, path: str | os.PathLike, on_disk: bool = False) -> "Collection":
        """What `save` wrote, bit for bit. InputError if the file is absent, truncated or something else.

        on_disk: leave the images there. One that has changed since then raises InputError when it is read.
        """
        try:
            return cls.of(TensorFile(path), on_disk)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not a whole collection of photos ({reason}); train again") from None

    @classmethod
    def of(cls, file: TensorFile, on_disk: bool = False) -> "Collection":
        """The collection in an open file; ValueError, KeyError or TypeError where it holds none."""
        entries, shape = read_about(file)
        keys = [
            [level_key(photo, scale) for scale in range(shape.scale_count)] for photo in range(len(entries["names"]))
        ]
        sizes = [[file.shape(key)[1:] for key in of_one] for of_one in keys]
        store = OnDisk(file, shape.scale_count, entries["channels"])
        if not on_disk:
            store = InMemory(
                [[store.image(photo, scale) for scale in range(len(of_one))] for photo, of_one in enumerate(keys)]
            )
        collection = cls.__new__(cls)
        collection._fill(**entries, shape=shape, sizes=sizes, store=store)
        return collection

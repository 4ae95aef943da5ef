"""The training set: the pyramids of all photos in memory, batches of them as canvases."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hyperconv.data import canvas
from hyperconv.data.images import Photo, common_channels, resize, unique_names, with_channels
from hyperconv.data.pyramid import PyramidShape, build_pyramid
from hyperconv.errors import InputError
from hyperconv.files import replacing

FORMAT = "hyperconv-collection-1"


class Batch(NamedTuple):
    """One scale of B photos: their canvas (B, C, H, W), sizes (B, 2), indices (B,) in the collection."""

    images: Tensor
    sizes: Tensor
    indices: Tensor


class Collection:
    """Pyramids of N photos, float32 in [-1, 1], all grey or all RGB.

    names: N unique names; paths: N source paths or None; notes: one-line remarks; shape: the PyramidShape;
    channels: 1 or 3; sizes[scale]: (N, 2) long on the CPU, (height, width) of every photo, coarse to fine.
    """

    def __init__(self, photos: Sequence[Photo], shape: PyramidShape, channels: int | None = None):
        """channels=None: 1 if every photo is grey, else 3. InputError if one is too small or none given."""
        if not photos:
            raise InputError("no photos to learn from: a collection needs at least one")
        channels = common_channels(photos) if channels is None else channels
        names, levels, notes = unique_names([photo.name for photo in photos]), [], []
        for name, photo in zip(names, photos, strict=True):
            height, width = photo.pixels.shape[1:]
            sizes = shape.sizes(height, width, name=str(photo.path or photo.name))
            levels.append(build_pyramid(with_channels(photo.pixels, channels), sizes))
            notes += [f"{name}: {note}" for note in photo.notes]
            if max(height, width) < shape.max_size:
                notes.append(f"{name}: enlarged from {width}x{height} to {sizes[-1][1]}x{sizes[-1][0]}")
        paths = [None if photo.path is None else str(photo.path) for photo in photos]
        self._fill(names, paths, notes, shape, levels)

    def _fill(self, names: list, paths: list, notes: list, shape: PyramidShape, levels: list) -> None:
        self.names, self.paths, self.notes, self.shape = names, paths, notes, shape
        self._levels: list[list[Tensor]] = levels  # of every photo, coarse to fine
        self.channels = levels[0][0].shape[0]
        self.sizes = [torch.tensor([level.shape[1:] for level in scale]) for scale in zip(*levels)]
        self._embedding_inputs: dict[int, Tensor] = {}
        height, width = self.sizes[-1].unbind(1)
        self._upright, self._wide = (height > width).nonzero()[:, 0], (height <= width).nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        return self._levels[0][0].device

    def to(self, device: torch.device | str) -> "Collection":
        """Move the images, in place; batches come from there from now on."""
        self._levels = [[level.to(device) for level in levels] for levels in self._levels]
        self._embedding_inputs.clear()
        return self

    def batch(self, indices: Tensor | Sequence[int], scale: int) -> Batch:
        """The photos `indices` (B,) at one scale, on the collection's device."""
        indices = torch.as_tensor(indices)
        images, sizes = canvas.stack([self._levels[index][scale] for index in indices.tolist()])
        return Batch(images, sizes, indices.to(self.device))

    def sizes_of(self, indices: Tensor | Sequence[int]) -> list[Tensor]:
        """Sizes (B, 2) of the photos `indices` at every scale, coarse to fine, on the collection's device."""
        indices = torch.as_tensor(indices).cpu()
        return [sizes[indices].to(self.device) for sizes in self.sizes]

    def embedding_inputs(self, indices: Tensor | Sequence[int], size: int = 128) -> Tensor:
        """The photos `indices` squashed to (B, C, size, size), antialiased."""
        if size not in self._embedding_inputs:
            squashed = [resize(levels[-1].cpu(), (size, size)) for levels in self._levels]
            self._embedding_inputs[size] = torch.stack(squashed).to(self.device)
        return self._embedding_inputs[size][torch.as_tensor(indices, device=self.device)]

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Indices (batch_size,) of different photos for one step; all photos in order if there are no more.

        Every photo is equally likely. A batch is of wide photos or of upright ones as far as they suffice, so
        that little of the canvas is empty.
        """
        wide, upright = len(self._wide), len(self._upright)
        if len(self) <= batch_size:
            return torch.arange(len(self))
        most, least = min(batch_size, wide), max(0, batch_size - upright)
        share = batch_size * wide / len(self)
        wanted = most if torch.rand((), generator=generator) * (most - least) < share - least else least
        chosen_wide = self._wide[torch.randperm(wide, generator=generator)[:wanted]]
        chosen_upright = self._upright[torch.randperm(upright, generator=generator)[: batch_size - wanted]]
        return torch.cat([chosen_wide, chosen_upright])

    def save(self, path: str | os.PathLike) -> None:
        """Write every level as one safetensors file, complete or not at all."""
        tensors = {
            _key(photo, scale): level.cpu()
            for photo, levels in enumerate(self._levels)
            for scale, level in enumerate(levels)
        }
        about = {"names": self.names, "paths": self.paths, "notes": self.notes, "shape": asdict(self.shape)}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"format": FORMAT, "about": json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Collection":
        """What `save` wrote, bit for bit. InputError if the file is absent, truncated or something else."""
        path = Path(path)
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError("written by something else")
                about = json.loads(metadata["about"])
                shape = PyramidShape(**about["shape"])
                levels = [
                    [file.get_tensor(_key(photo, scale)) for scale in range(shape.scale_count)]
                    for photo in range(len(about["names"]))
                ]
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not a whole collection of photos ({reason}); train again") from None
        collection = cls.__new__(cls)
        collection._fill(about["names"], about["paths"], about["notes"], shape, levels)
        return collection


def _key(photo: int, scale: int) -> str:
    return f"photo{photo}.scale{scale}"

"""Images sorted into domains, such as the classes of a data set, all of one size and in memory as bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import torch
from torch import Tensor

from hyperconv.data.images import to_uint8, with_channels
from hyperconv.data.tensor_file import TensorFile, write_tensors
from hyperconv.errors import InputError

FORMAT = "hyperconv-domains-1"


class Domains:
    """Images of D domains.

    images: {name: (count, C, S, S) uint8}, each of at least one image and all of one shape; inverted: whether files
    are read as negatives, as OMNIGLOT's are. InputError where there is none, an empty one, or shapes differ.
    """

    def __init__(self, images: Mapping[str, Tensor], inverted: bool = False) -> None:
        if not images:
            raise InputError("no domains to learn from")
        if empty := [name for name, own in images.items() if not len(own)]:
            raise InputError(f"domain {empty[0]!r} has no images")
        shapes = {tuple(own.shape[1:]) for own in images.values()}
        if len(shapes) > 1:
            raise InputError(f"images of domains differ in shape: {' and '.join(map(str, sorted(shapes)))}")
        self.names, self.inverted = list(images), inverted
        self.pixels = torch.cat(list(images.values()))
        self.counts = torch.tensor([len(own) for own in images.values()])
        self.starts = self.counts.cumsum(0) - self.counts

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    @property
    def channels(self) -> int:
        return self.pixels.shape[1]

    @property
    def size(self) -> int:
        return self.pixels.shape[2]

    def to(self, device: torch.device | str) -> Domains:
        """Move the images, in place; draws come from there from now on."""
        self.pixels, self.counts, self.starts = (each.to(device) for each in (self.pixels, self.counts, self.starts))
        return self

    def images(self, name: str) -> Tensor:
        """All images of a domain (count, C, S, S), float32 in [-1, 1]."""
        place = self.names.index(name)
        start = int(self.starts[place])
        return _unpacked(self.pixels[start : start + int(self.counts[place])])

    def at(self, places: Tensor) -> Tensor:
        """Images (N, C, S, S) in [-1, 1] by their places (N,) among those of all domains, one domain after another."""
        return _unpacked(self.pixels[places])

    def draw(self, chosen: Tensor, count: int, source: torch.Generator) -> Tensor:
        """`count` images of each of the domains `chosen` (B,), with replacement: (B * count, C, S, S) in [-1, 1]."""
        return self._draw(self.starts[chosen], self.counts[chosen], count, source)

    def draw_others(self, chosen: Tensor, count: int, source: torch.Generator) -> Tensor:
        """As `draw`, from the images of all other domains, each as likely as any. InputError where there are none."""
        if len(self) < 2:
            raise InputError(f"{self.names[0]} is the only domain: two or more are needed, to tell them apart")
        after = self.starts[chosen] + self.counts[chosen]
        return self._draw(after, len(self.pixels) - self.counts[chosen], count, source)

    def _draw(self, starts: Tensor, lengths: Tensor, count: int, source: torch.Generator) -> Tensor:
        """Images of runs of them that begin again at the first after the last."""
        at = torch.rand(len(starts), count, generator=source, device=self.device, dtype=torch.float64)
        rows = starts[:, None] + (at * lengths[:, None]).long()
        return _unpacked(self.pixels[rows.flatten() % len(self.pixels)])

    def with_domain(self, name: str, images: Tensor) -> Domains:
        """These domains and one more, the last: images (count, C, S, S) in [-1, 1]. One of that name gives way."""
        own = dict(zip(self.names, self.pixels.split(self.counts.tolist())))
        own.pop(name, None)
        return Domains({**own, name: to_uint8(images).to(self.device)}, self.inverted).to(self.device)

    def without(self, names: list[str]) -> tuple[Domains, dict[str, Tensor]]:
        """The domains but those named, and the images of these, in [-1, 1]. InputError for a name that is not here."""
        if unknown := [name for name in names if name not in self.names]:
            raise InputError(
                f"no domain is called {unknown[0]!r}: there are {', '.join(self.names[:12])}"
                f"{', …' if len(self) > 12 else ''}"
            )
        own = dict(zip(self.names, self.pixels.split(self.counts.tolist())))
        kept = {name: images for name, images in own.items() if name not in names}
        return Domains(kept, self.inverted), {name: _unpacked(own[name]) for name in names}

    def with_channels(self, channels: int) -> Domains:
        """The same images in grey (1) or RGB (3)."""
        if channels == self.channels:
            return self
        pixels = torch.cat([to_uint8(with_channels(_unpacked(part), channels)) for part in self.pixels.split(4096)])
        return Domains(dict(zip(self.names, pixels.split(self.counts.tolist()))), self.inverted)

    def save(self, path: str | os.PathLike) -> None:
        """Write everything as one safetensors file with checksums, complete or not at all."""
        about = {"format": FORMAT, "about": json.dumps({"names": self.names, "inverted": self.inverted})}
        write_tensors(path, {"pixels": self.pixels.cpu(), "counts": self.counts.cpu()}, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Domains:
        """What `save` wrote. InputError if the file is absent, or not what was written."""
        try:
            file = TensorFile(path)
            if file.about.get("format") != FORMAT:
                raise ValueError("written by something else")
            about = json.loads(file.about["about"])
            parts = file.tensor("pixels").split(file.tensor("counts").tolist())
            return cls(dict(zip(about["names"], parts, strict=True)), about["inverted"])
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not a whole collection of domains ({reason}); train again") from None


def _unpacked(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1

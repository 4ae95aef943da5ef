"""Images and their features: every one of them is an instance that images can be drawn around."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.errors import InputError
from hyperconv.gan.dip.prior import Neighbours


class Draw(NamedTuple):
    """Priors, and a real image of each."""

    real: Tensor  # (N, C, S, S) in [-1, 1]
    prior: Tensor  # (N, features)


class Instances:
    """M images, sorted into folders (`Domains`), and their features (M, F).

    neighbours: an instance's real image is any of the so many nearest to it, itself among them.
    """

    def __init__(self, domains: Domains, features: Tensor, neighbours: int = 1) -> None:
        if len(features) != len(domains.pixels):
            raise InputError(
                f"there are features of {len(features)} images and {len(domains.pixels)} images: they are not of "
                "one run"
            )
        self.domains, self.features = domains, features
        self.near = Neighbours(features, neighbours) if neighbours > 1 else None

    def __len__(self) -> int:
        return len(self.features)

    def draw(self, count: int, source: torch.Generator) -> Draw:
        """Instances at random, with replacement."""
        chosen = torch.randint(len(self), (count,), generator=source, device=source.device)
        shown = chosen if self.near is None else self.near.of(chosen, source)
        return Draw(self.domains.at(shown), self.features[chosen])

    def find(self, name: str) -> int:
        """The place of an instance called FOLDER:NUMBER, counted from 1. InputError where there is none."""
        folder, _, number = name.rpartition(":")
        if folder in self.domains.names and number.isascii() and number.isdecimal():
            start, count = (
                int(each[self.domains.names.index(folder)]) for each in (self.domains.starts, self.domains.counts)
            )
            if 1 <= int(number) <= count:
                return start + int(number) - 1
            raise InputError(f"{folder} holds images 1 to {count}, not {number}")
        folders = self.domains.names
        raise InputError(
            f"{name!r} is no image of this run, nor a file: name one as {folders[0]}:1 (there are folders "
            f"{', '.join(folders[:12])}{', …' if len(folders) > 12 else ''})"
        )

    def name(self, place: int) -> str:
        """What `find` finds."""
        folder = int(torch.searchsorted(self.domains.starts, place, right=True)) - 1
        return f"{self.domains.names[folder]}:{place - int(self.domains.starts[folder]) + 1}"

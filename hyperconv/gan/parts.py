"""Which photos of a batch go through the nets together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

WASTE = 1.25  # pixels of a part's canvases over those of its photos, at most, where photos may be parted


class Part(NamedTuple):
    """Rows of a batch, and the heights and widths of their canvases per scale (None: those of the batch)."""

    rows: slice | Tensor
    extents: list[tuple[int, int]] | None


def cut(photos: int, at_a_time: int, sizes: Sequence[Tensor] | None, device: torch.device) -> list[Part]:
    """`photos` photos in parts of at most `at_a_time`.

    sizes (per scale (photos, 2)): given where the batch is always the same; photos of like shape then share a part,
    whose canvases are no larger than they need.
    """
    if sizes is None:
        return [Part(slice(first, min(first + at_a_time, photos)), None) for first in range(0, photos, at_a_time)]
    groups = _alike(sizes[-1], at_a_time)
    if len(groups) == 1:
        return [Part(slice(0, photos), None)]
    return [Part(torch.tensor(group, device=device), [tuple(level[group].amax(dim=0).tolist()) for level in sizes])
            for group in groups]


def _alike(sizes: Tensor, at_a_time: int) -> list[list[int]]:
    """Photos in the order of their shapes, a new group where a canvas would be too empty or too full."""
    order = sorted(range(len(sizes)), key=lambda photo: (sizes[photo, 0] / sizes[photo, 1], sizes[photo, 0]))
    groups: list[list[int]] = []
    for photo in order:
        wider = [*(groups[-1] if groups else []), photo]
        filled, canvas = sizes[wider].prod(dim=1).sum(), len(wider) * sizes[wider].amax(dim=0).prod()
        if groups and len(wider) <= at_a_time and canvas <= WASTE * filled:
            groups[-1] = wider
        else:
            groups.append([photo])
    return groups

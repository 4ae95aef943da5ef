"""Which photos of a batch go through the nets together."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

PART_PIXELS = {"cpu": 350, "cuda": 32768}
"""The work that a part brings with it, as pixels of a photo. On an H200 11,000 of photos of 25x34, 50,000 of 188x250."""


class Part(NamedTuple):
    """Rows of a batch, and the heights and widths of their canvases per scale (None: those of the batch)."""

    rows: slice | Tensor
    extents: list[tuple[int, int]] | None


def take(batch: Tensor, rows: slice | Tensor) -> Tensor:
    """batch[rows], for a tensor of rows several times quicker."""
    return batch[rows] if isinstance(rows, slice) else batch.index_select(0, rows)


def apart(batch: Tensor, parts: Sequence[Part]) -> Sequence[Tensor]:
    """The rows of every part of a batch (B, ...): at most one copy, and one concatenation on the way back."""
    if len(parts) == 1:
        return [batch]
    if isinstance(parts[0].rows, slice):
        return batch.split([part.rows.stop - part.rows.start for part in parts])
    return batch.index_select(0, torch.cat([part.rows for part in parts])).split([len(part.rows) for part in parts])


def cut(photos: int, at_a_time: int, sizes: Sequence[Tensor] | None, device: torch.device) -> list[Part]:
    """`photos` photos in parts of at most `at_a_time`.

    sizes (per scale (photos, 2)): given where the batch is always the same; photos of like shape then share a part,
    whose canvases are no larger than they need.
    """
    if sizes is None:
        return [Part(slice(first, min(first + at_a_time, photos)), None) for first in range(0, photos, at_a_time)]
    groups = _alike(sizes[-1].tolist(), at_a_time, PART_PIXELS.get(device.type, PART_PIXELS["cuda"]))
    if len(groups) == 1:
        return [Part(slice(0, photos), None)]
    return [
        Part(torch.tensor(group, device=device), [tuple(level[group].amax(dim=0).tolist()) for level in sizes])
        for group in groups
    ]


def _alike(sizes: list[list[int]], at_a_time: int, part_pixels: int) -> list[list[int]]:
    """The photos by their shapes, cut where all canvases together, and what a part costs, come to the fewest pixels."""
    order = sorted(range(len(sizes)), key=lambda photo: (sizes[photo][0] / sizes[photo][1], sizes[photo][0]))
    fewest, begins = [0], []  # for the first photos of that order: their pixels, and where the last part begins
    for end in range(1, len(order) + 1):
        options, height, width = [], 0, 0
        for begin in range(end - 1, max(0, end - at_a_time) - 1, -1):
            height, width = max(height, sizes[order[begin]][0]), max(width, sizes[order[begin]][1])
            options.append((fewest[begin] + part_pixels + (end - begin) * height * width, begin))
        pixels, begin = min(options, key=itemgetter(0))
        fewest.append(pixels)
        begins.append(begin)
    groups, end = [], len(order)
    while end > 0:
        groups.append(order[begins[end - 1] : end])
        end = begins[end - 1]
    return groups[::-1]

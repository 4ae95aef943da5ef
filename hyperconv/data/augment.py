"""What ConSinGAN's coarsest scale is trained to undo: photos with other colours and cut-outs, or with parts moved.

Hinz et al. (2021), section 4: augmentations for harmonisation and for editing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Augmentation = Literal["harmonize", "edit"]

COLOURED, CUT = 0.25, 0.9  # how often a photo's colours change, and how often something is cut out of it
HOLES = {1: (30, 60), 2: (15, 30)}  # sides of one cut-out or of each of two, in pixels where ...
SHORT_SIDE = 120  # ... is the photo's short side: the published coarsest scale
TILES = {1: (0.2, 0.5, 0.15), 2: (0.15, 0.3, 0.1), 3: (0.1, 0.2, 0.1), 4: (0.1, 0.15, 0.1), 5: (0.1, 0.15, 0.1)}
"""Least and most of the sides of each of so many tiles, and how far they move at most, over the photo's sides."""
LEAST_MOVE = 0.05
EDIT_NOISE = 0.1  # standard deviation
SEPIA = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))


def augmented(photos: Tensor, sizes: Tensor, how: Augmentation, begin: Callable[[], torch.Generator]) -> Tensor:
    """Photos (N, C, H, W) in [-1, 1] of sizes (N, 2) on a canvas, each altered by a stream of its own, `begin()`."""
    result = photos.clone()
    for image, (height, width) in zip(result, sizes.tolist()):
        image[:, :height, :width] = _ALTER[how](image[:, :height, :width], begin())
    return result


def _for_harmonisation(image: Tensor, source: torch.Generator) -> Tensor:
    """Perhaps other colours, then perhaps one or two rectangles of one colour."""
    if _uniform(source) < COLOURED:
        change = _COLOURS[_integer(0, len(_COLOURS), source)]
        image = change((image + 1) / 2, source).clamp(0, 1) * 2 - 1
    if _uniform(source) < CUT:
        image = image.clone()
        count = _integer(1, 3, source)
        scale = min(image.shape[1:]) / SHORT_SIDE
        least, most = HOLES[count]
        for _ in range(count):
            rows, columns = (
                _part(side, max(1, round(scale * _integer(least, most + 1, source))), source)
                for side in image.shape[1:]
            )
            colour = 2 * torch.rand(len(image), generator=source, device=source.device) - 1
            image[:, rows, columns] = colour[:, None, None]
    return image


def _for_editing(image: Tensor, source: torch.Generator) -> Tensor:
    """One to five tiles copied to places nearby, and a little noise."""
    result, count = image.clone(), _integer(1, 6, source)
    least, most, furthest = TILES[count]
    for _ in range(count):
        sides = [max(1, int(side * _between(least, most, source))) for side in image.shape[1:]]
        starts = [_integer(0, side - tile + 1, source) for side, tile in zip(image.shape[1:], sides)]
        towards = 2 * _integer(0, 2, source) - 1
        moves = [max(1, round(side * _between(LEAST_MOVE, furthest, source))) for side in image.shape[1:]]
        ends = [
            min(max(start + towards * move, 0), side - tile)
            for start, move, side, tile in zip(starts, moves, image.shape[1:], sides)
        ]
        tile = image[:, starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
        result[:, ends[0] : ends[0] + sides[0], ends[1] : ends[1] + sides[1]] = tile
    return result + EDIT_NOISE * torch.randn(image.shape, generator=source, device=source.device)


def _multiplicative(image: Tensor, source: torch.Generator) -> Tensor:
    return image * (0.5 + torch.rand(image.shape, generator=source, device=source.device))


def _additive(image: Tensor, source: torch.Generator) -> Tensor:
    spread = 0.1 * _uniform(source)
    return image + spread * torch.randn(image.shape, generator=source, device=source.device)


def _invert(image: Tensor, source: torch.Generator) -> Tensor:
    return 1 - image


def _sepia(image: Tensor, source: torch.Generator) -> Tensor:
    if len(image) != 3:
        return image
    return torch.einsum("oc,chw->ohw", image.new_tensor(SEPIA), image)


def _drop(image: Tensor, source: torch.Generator) -> Tensor:
    kept = torch.arange(len(image), device=image.device) != _integer(0, len(image), source)
    return image * kept[:, None, None]


def _shuffle(image: Tensor, source: torch.Generator) -> Tensor:
    return image[torch.randperm(len(image), generator=source, device=source.device)]


def _tint(image: Tensor, source: torch.Generator) -> Tensor:
    """Small changes of saturation (away from grey) and value, and of each channel's level."""
    grey = image.mean(dim=0, keepdim=True)
    saturated = grey + (image - grey) * (0.7 + 0.6 * _uniform(source))
    level = 0.1 * (2 * torch.rand(len(image), generator=source, device=source.device) - 1)
    return saturated * (0.8 + 0.4 * _uniform(source)) + level[:, None, None]


_COLOURS = (_multiplicative, _additive, _invert, _sepia, _drop, _shuffle, _tint)
_ALTER = {"harmonize": _for_harmonisation, "edit": _for_editing}


def _part(side: int, length: int, source: torch.Generator) -> slice:
    start = _integer(0, side - length + 1, source)
    return slice(start, start + length)


def _between(low: float, high: float, source: torch.Generator) -> float:
    return low + (high - low) * _uniform(source)


def _uniform(source: torch.Generator) -> float:
    return float(torch.rand((), generator=source, device=source.device))


def _integer(low: int, high: int, source: torch.Generator) -> int:
    """low .. high - 1, each equally likely."""
    return int(torch.randint(low, high, (), generator=source, device=source.device))

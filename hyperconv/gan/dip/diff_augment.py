"""DiffAugment (Zhao et al. 2020): what the discriminator sees, real or not, is altered in ways that gradients pass.

Images (N, C, H, W) in [-1, 1]; each is altered by itself. Where an image has moved or is cut out there is grey, 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOVE, CUT = 1 / 8, 1 / 2  # of the side: the furthest way, the square that is cut out


def diff_augment(images: Tensor, augmentations: Iterable[str], source: torch.Generator) -> Tensor:
    """The images after each of the AUGMENTATIONS named, in that order."""
    for name in augmentations:
        images = AUGMENTATIONS[name](images, source)
    return images


def _color(images: Tensor, source: torch.Generator) -> Tensor:
    """Brightness up to 0.5 up or down, saturation 0 to 2 times, contrast 0.5 to 1.5 times."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, generator=source, device=images.device)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    level = images.mean((1, 2, 3), keepdim=True)
    return level + (images - level) * (contrast + 0.5)


def _translation(images: Tensor, source: torch.Generator) -> Tensor:
    """By whole pixels, up to an eighth of the side."""
    rows, columns = (_shifted(side, len(images), source) for side in images.shape[2:])
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _shifted(side: int, count: int, source: torch.Generator) -> Tensor:
    """(count, side): where each place of a moved row comes from in one that has a place more at both ends."""
    most = int(side * MOVE + 0.5)
    shift = torch.randint(-most, most + 1, (count, 1), generator=source, device=source.device)
    return (torch.arange(1, side + 1, device=source.device) + shift).clamp(0, side + 1)


def _cutout(images: Tensor, source: torch.Generator) -> Tensor:
    """A square of half the side, anywhere, also over the border."""
    inside = []
    for side in images.shape[2:]:
        length = int(side * CUT + 0.5)
        centre = torch.randint(0, side + (1 - length % 2), (len(images), 1), generator=source, device=source.device)
        place = torch.arange(side, device=source.device)
        inside.append((place >= centre - length // 2) & (place < centre - length // 2 + length))
    rows, columns = inside
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


AUGMENTATIONS = {"color": _color, "translation": _translation, "cutout": _cutout}

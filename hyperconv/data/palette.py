"""Few colours for many: those of a photo by k-means, and a picture in those colours alone."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 50  # of k-means, at most


def palette(image: Tensor, colours: int, source: torch.Generator) -> Tensor:
    """The colours (colours, C) that stand best for an image (C, H, W): k-means, begun as k-means++ does.

    Fewer where the image has no more.
    """
    pixels = image.flatten(1).T
    centres = _begin(pixels, colours, source)
    for _ in range(ROUNDS):
        nearest = _nearest(pixels, centres)
        counts = torch.bincount(nearest, minlength=len(centres)).clamp(min=1)
        moved = torch.zeros_like(centres).index_add_(0, nearest, pixels) / counts[:, None]
        if torch.allclose(moved, centres):
            break
        centres = moved
    return centres


def quantised(image: Tensor, colours: Tensor) -> Tensor:
    """The image (C, H, W) with every pixel in the nearest of the colours (K, C)."""
    pixels = image.flatten(1).T
    return colours[_nearest(pixels, colours)].T.reshape(image.shape)


def _begin(pixels: Tensor, colours: int, source: torch.Generator) -> Tensor:
    """Pixels far from one another: each drawn in proportion to its squared distance from those before it."""
    chosen = [torch.randint(len(pixels), (1,), generator=source, device=pixels.device)]
    while len(chosen) < colours:
        distance = torch.cdist(pixels, pixels[torch.cat(chosen)], compute_mode=EXACT).amin(dim=1).square()
        if distance.max() == 0:
            break
        chosen.append(torch.multinomial(distance, 1, generator=source))
    return pixels[torch.cat(chosen)]


def _nearest(pixels: Tensor, colours: Tensor) -> Tensor:
    return torch.cdist(pixels, colours, compute_mode=EXACT).argmin(dim=1)


EXACT = "donot_use_mm_for_euclid_dist"

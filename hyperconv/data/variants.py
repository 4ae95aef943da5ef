"""Altered photos: what teaches a hypernetwork about photos it never saw, and a contrastive net what stays the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_CROP, LEAST_VIEW = 0.35, 0.6  # of each side
LEAST_CONTRAST, MOST_CONTRAST = 0.5, 1.5
MOST_TINT = 0.4  # added to a colour
NEGATIVE, UPSIDE_DOWN, MIXED = 0.3, 0.25, 0.5  # shares of the variants
VIEW_JITTER = 0.4  # of brightness, contrast and saturation, at most


def views(images: Tensor, source: torch.Generator, mirror: bool) -> Tensor:
    """Another view of each of `images` (N, C, S, S) in [-1, 1], itself as large, that shows the same thing.

    Most of the image, enlarged, half of them mirrored if `mirror`, with other brightness, contrast and saturation.
    """
    parts = _crop(images, source, LEAST_VIEW, (0.5 if mirror else 0, 0))
    factors = 2 * torch.rand((3, len(images), 1, 1, 1), generator=source, device=source.device) - 1
    brightness, contrast, saturation = VIEW_JITTER * factors
    grey = parts.mean(1, keepdim=True)
    coloured = torch.lerp(grey, parts, 1 + saturation)
    level = grey.mean((2, 3), keepdim=True)
    return (torch.lerp(level, coloured, 1 + contrast) + brightness).clamp(-1, 1)


def variants(photos: Tensor, source: torch.Generator) -> Tensor:
    """An altered photo for each of `photos` (N, C, S, S) in [-1, 1], itself as large.

    A part of the photo, enlarged, perhaps mirrored, its colours exchanged, scaled and shifted; half of them are
    blended with the next photo, altered too.
    """
    first, second = _alter(photos, source), _alter(photos.roll(-1, 0), source)
    share = _uniform(len(photos), source) * (_uniform(len(photos), source) < MIXED)
    return torch.lerp(first, second, share[:, None, None, None]).clamp(-1, 1)


def _alter(photos: Tensor, source: torch.Generator) -> Tensor:
    count, parts = len(photos), _crop(photos, source)
    order = torch.rand(parts.shape[:2], generator=source, device=source.device).argsort(dim=1)
    parts = parts.gather(1, order[:, :, None, None].expand_as(parts))
    contrast = LEAST_CONTRAST + (MOST_CONTRAST - LEAST_CONTRAST) * _uniform(count, source)
    contrast = torch.where(_uniform(count, source) < NEGATIVE, -contrast, contrast)
    tint = MOST_TINT * (2 * torch.rand(parts.shape[:2], generator=source, device=source.device) - 1)
    return parts * contrast[:, None, None, None] + tint[:, :, None, None]


def _crop(
    photos: Tensor, source: torch.Generator, least: float = LEAST_CROP, mirror: tuple[float, float] = (0.5, UPSIDE_DOWN)
) -> Tensor:
    """A random part of each photo, at least `least` of each side, enlarged to its size; mirror: shares, x and y."""
    count, device = len(photos), source.device
    side = least + (1 - least) * torch.rand((count, 2), generator=source, device=device)
    centre = (2 * torch.rand((count, 2), generator=source, device=device) - 1) * (1 - side)
    mirrored = torch.stack([_uniform(count, source) < share for share in mirror], dim=1)
    part = torch.diag_embed(torch.where(mirrored, -side, side))
    grid = F.affine_grid(torch.cat([part, centre[:, :, None]], dim=2), list(photos.shape), align_corners=False)
    return F.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _uniform(count: int, source: torch.Generator) -> Tensor:
    return torch.rand(count, generator=source, device=source.device)

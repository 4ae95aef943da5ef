"""Altered photos: what teaches a hypernetwork about photos it never saw when the training set is small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_CROP = 0.35  # of each side
LEAST_CONTRAST, MOST_CONTRAST = 0.5, 1.5
MOST_TINT = 0.4  # added to a colour
NEGATIVE, UPSIDE_DOWN, MIXED = 0.3, 0.25, 0.5  # shares of the variants


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


def _crop(photos: Tensor, source: torch.Generator) -> Tensor:
    """A random part of each photo, mirrored or not, enlarged to its size."""
    count, device = len(photos), source.device
    side = LEAST_CROP + (1 - LEAST_CROP) * torch.rand((count, 2), generator=source, device=device)
    centre = (2 * torch.rand((count, 2), generator=source, device=device) - 1) * (1 - side)
    mirrored = torch.stack([_uniform(count, source) < 0.5, _uniform(count, source) < UPSIDE_DOWN], dim=1)
    part = torch.diag_embed(torch.where(mirrored, -side, side))
    grid = F.affine_grid(torch.cat([part, centre[:, :, None]], dim=2), list(photos.shape), align_corners=False)
    return F.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _uniform(count: int, source: torch.Generator) -> Tensor:
    return torch.rand(count, generator=source, device=source.device)

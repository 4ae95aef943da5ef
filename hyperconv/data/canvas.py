"""Images of different sizes in one batch: each lies in the top-left corner of a zero canvas.

`sizes` is always a (B, 2) long tensor of (height, width), one row per image: its valid region.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def stack(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Images (C, h, w) -> canvas (B, C, H, W) of the largest height and width, sizes (B, 2)."""
    if not images:
        raise ValueError("images is empty: a canvas needs at least one image")
    channels = {image.shape[0] if image.dim() == 3 else None for image in images}
    if len(channels) != 1 or None in channels:
        raise ValueError(f"images must all be (C, H, W) with one C, got {[tuple(i.shape) for i in images]}")
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    canvas = images[0].new_zeros(len(images), channels.pop(), height, width)
    for place, image in zip(canvas, images):
        place[:, : image.shape[1], : image.shape[2]] = image
    return canvas, torch.tensor([image.shape[1:] for image in images], device=canvas.device)


def crop(canvas: Tensor, sizes: Tensor) -> list[Tensor]:
    """The valid regions of a canvas (B, C, H, W): B views (C, h, w)."""
    return [image[:, :height, :width] for image, (height, width) in zip(canvas, sizes.tolist(), strict=True)]


def mask(sizes: Tensor, height: int, width: int) -> Tensor:
    """Float (B, 1, height, width): 1 in each image's valid region, 0 beyond."""
    return _inside(sizes, height, width).float()


def mean(values: Tensor, sizes: Tensor) -> Tensor:
    """Mean of values (N, C, H, W) over the channels and valid pixels of each image: (N,)."""
    sizes = sizes.to(values.device)
    valid = torch.where(_inside(sizes, *values.shape[-2:]), values, 0)
    return valid.sum((1, 2, 3)) / (values.shape[1] * sizes.prod(1))


def resample(canvas: Tensor, from_sizes: Tensor, to_sizes: Tensor, size: tuple[int, int]) -> Tensor:
    """Every image of a canvas (B, C, H, W) resized from its size in `from_sizes` to its size in `to_sizes`.

    Equals F.interpolate(image, to, mode="bilinear", align_corners=True) of each image alone. Returns a canvas
    (B, C, *size), zero beyond the new valid regions. Bilinear interpolation is separable: two batched matrix
    products, differentiable at every order.
    """
    from_sizes, to_sizes = from_sizes.to(canvas.device), to_sizes.to(canvas.device)
    with torch.autocast(canvas.device.type, enabled=False):  # blending is not a place to lose precision
        rows = _interpolation(from_sizes[:, 0], to_sizes[:, 0], canvas.shape[2], size[0], canvas.dtype)
        columns = _interpolation(from_sizes[:, 1], to_sizes[:, 1], canvas.shape[3], size[1], canvas.dtype)
        return rows[:, None] @ (canvas @ columns[:, None].mT)


def _inside(sizes: Tensor, height: int, width: int) -> Tensor:
    rows = torch.arange(height, device=sizes.device)[:, None] < sizes[:, 0, None, None]
    columns = torch.arange(width, device=sizes.device) < sizes[:, 1, None, None]
    return (rows & columns)[:, None]


def _interpolation(old: Tensor, new: Tensor, old_extent: int, new_extent: int, dtype: torch.dtype) -> Tensor:
    """(B, new_extent, old_extent): row i < new blends the old positions around i (old - 1) / (new - 1)."""
    old, new = old[:, None], new[:, None]
    position = torch.arange(new_extent, device=old.device)
    steps = (new - 1).clamp(min=1)
    low = position * (old - 1) // steps
    fraction = (position * (old - 1) - low * steps).to(torch.promote_types(dtype, torch.float32)) / steps
    high = torch.minimum(low + 1, old - 1)
    valid = position < new
    weights = torch.stack([(1 - fraction) * valid, fraction * valid], -1).to(dtype)
    column = torch.arange(old_extent, device=old.device)
    at_low, at_high = ((column == index[..., None]) for index in (low, high))
    return at_low * weights[..., :1] + at_high * weights[..., 1:]

"""Images of different sizes in one batch: each lies in the top-left corner of a zero canvas.

`sizes` is always a (B, 2) long tensor of (height, width), one row per image: its valid region.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Resampling = Literal["bilinear", "bicubic", "cubic"]


class Grid(NamedTuple):
    """Where N images lie: their sizes (N, 2) on canvases of height and width `extent`.

    trained (N, 2): the sizes at which nets have learned to draw them, where others are asked for.
    """

    sizes: Tensor
    extent: tuple[int, int]
    trained: Tensor | None = None

    def grown(self, pixels: int) -> "Grid":
        """Images larger by `pixels` on each axis, on canvases larger by as much."""
        trained = None if self.trained is None else self.trained + pixels
        return Grid(self.sizes + pixels, (self.extent[0] + pixels, self.extent[1] + pixels), trained)

    def keep(self, images: Tensor) -> Tensor:
        """`images` (N, C, *extent), zero beyond each image's size."""
        return torch.where(inside(self.sizes.to(images.device), *self.extent), images, 0)


def stack(images: Sequence[Tensor], extent: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Images (C, h, w) -> canvas (B, C, *extent), sizes (B, 2); extent None: the largest height and width."""
    if not images:
        raise ValueError("images is empty: a canvas needs at least one image")
    channels = {image.shape[0] if image.dim() == 3 else None for image in images}
    if len(channels) != 1 or None in channels:
        raise ValueError(f"images must all be (C, H, W) with one C, got {[tuple(i.shape) for i in images]}")
    height, width = extent or (max(image.shape[axis] for image in images) for axis in (1, 2))
    canvas = images[0].new_zeros(len(images), channels.pop(), height, width)
    for place, image in zip(canvas, images):
        place[:, : image.shape[1], : image.shape[2]] = image
    return canvas, torch.tensor([image.shape[1:] for image in images], device=canvas.device)


def crop(canvas: Tensor, sizes: Tensor) -> list[Tensor]:
    """The valid regions of a canvas (B, C, H, W): B views (C, h, w)."""
    return [image[:, :height, :width] for image, (height, width) in zip(canvas, sizes.tolist(), strict=True)]


def mask(sizes: Tensor, height: int, width: int) -> Tensor:
    """Float (B, 1, height, width): 1 in each image's valid region, 0 beyond."""
    return inside(sizes, height, width).float()


def mean(values: Tensor, sizes: Tensor) -> Tensor:
    """Mean of values (N, C, H, W) over the channels and valid pixels of each image: (N,)."""
    sizes = sizes.to(values.device)
    valid = torch.where(inside(sizes, *values.shape[-2:]), values, 0)
    return valid.sum((1, 2, 3)) / (values.shape[1] * sizes.prod(1))


def resample(
    canvas: Tensor, from_sizes: Tensor, to_sizes: Tensor, size: tuple[int, int], how: Resampling = "bilinear"
) -> Tensor:
    """Every image of a canvas (B, C, H, W) resized from its size in `from_sizes` to its size in `to_sizes`.

    Returns a canvas (B, C, *size), zero beyond the new valid regions. 'bilinear' and 'bicubic' equal
    F.interpolate(image, to, mode=how, align_corners=True) of each image alone; 'cubic' is Keys' kernel with a = -1/2
    on pixel centres, as Matlab's imresize enlarges. All are separable: two batched matrix products, differentiable at
    every order.
    """
    from_sizes, to_sizes = from_sizes.to(canvas.device), to_sizes.to(canvas.device)
    with torch.autocast(canvas.device.type, enabled=False):  # blending is not a place to lose precision
        rows, columns = (
            _INTERPOLATIONS[how](from_sizes[:, axis], to_sizes[:, axis], canvas.shape[2 + axis], size[axis]).to(canvas)
            for axis in (0, 1)
        )
        return rows[:, None] @ (canvas @ columns[:, None].mT)


def inside(sizes: Tensor, height: int, width: int) -> Tensor:
    """Bool (B, 1, height, width): whether a pixel lies in its image."""
    rows = torch.arange(height, device=sizes.device)[:, None] < sizes[:, 0, None, None]
    columns = torch.arange(width, device=sizes.device) < sizes[:, 1, None, None]
    return (rows & columns)[:, None]


def shares(sizes: Tensor, like: Tensor, border: int, height: int, width: int) -> Tensor:
    """What pixels count for, so that a mean over images of these sizes is one over images of sizes `like`, both (N, 2).

    Float (N, 1, height, width), zero beyond each image; all 1 in one of its own size. A row or column within `border`
    pixels of an edge counts as one, as it does there; those between share what lies between there. In images without
    anything between, all count alike.
    """
    rows, columns = (
        _shares(sizes[:, axis, None], like[:, axis, None], border, length)
        for axis, length in enumerate((height, width))
    )
    return (rows[:, :, None] * columns[:, None])[:, None]


def _shares(size: Tensor, like: Tensor, border: int, length: int) -> Tensor:
    """`shares` along one axis: sizes and likes (N, 1) -> (N, length)."""
    position = torch.arange(length, device=size.device)
    from_edge = torch.minimum(position, size - 1 - position)
    between = ((size > 2 * border) & (like > 2 * border)).long() * 2 * border
    share = (like - between) / (size - between)
    return torch.where(from_edge < 0, 0, torch.where((from_edge < border) & (between > 0), 1, share))


def _aligned(old: Tensor, new: Tensor, new_extent: int) -> tuple[Tensor, Tensor]:
    """Where new positions lie among old ones whose first and last coincide with theirs: whole part, fraction."""
    position, steps = torch.arange(new_extent, device=old.device), (new - 1).clamp(min=1)
    low = position * (old - 1) // steps
    return low, (position * (old - 1) - low * steps).double() / steps


def _bilinear(old: Tensor, new: Tensor, old_extent: int, new_extent: int) -> Tensor:
    """(B, new_extent, old_extent): row i < new blends the old positions around i (old - 1) / (new - 1)."""
    old, new = old[:, None], new[:, None]
    low, fraction = _aligned(old, new, new_extent)
    taps = torch.stack([low, torch.minimum(low + 1, old - 1)], -1)
    return _gathered(taps, torch.stack([1 - fraction, fraction], -1), new, old_extent)


def _bicubic(old: Tensor, new: Tensor, old_extent: int, new_extent: int) -> Tensor:
    """As `_bilinear`, of the four old positions around, those beyond an edge taken from the edge."""
    old, new = old[:, None], new[:, None]
    low, fraction = _aligned(old, new, new_extent)
    around = torch.arange(-1, 3, device=old.device)
    taps = torch.minimum((low[..., None] + around).clamp(min=0), old[..., None] - 1)
    return _gathered(taps, _cubic(fraction[..., None] - around, -0.75), new, old_extent)


def _centred(old: Tensor, new: Tensor, old_extent: int, new_extent: int) -> Tensor:
    """As `_bicubic`, over pixel centres; positions beyond an edge are mirrored at it."""
    old, new = old[:, None], new[:, None]
    centre = (torch.arange(new_extent, device=old.device) + 0.5).double() * old / new - 0.5
    taps = centre.floor()[..., None].long() + torch.arange(-1, 3, device=old.device)
    mirrored = taps % (2 * old[..., None])
    mirrored = torch.minimum(mirrored, 2 * old[..., None] - 1 - mirrored)
    return _gathered(mirrored, _cubic(centre[..., None] - taps, -0.5), new, old_extent)


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' cubic convolution kernel (1981), zero beyond a distance of 2."""
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0))


def _gathered(taps: Tensor, weights: Tensor, new: Tensor, old_extent: int) -> Tensor:
    """(B, new_extent, old_extent) from old positions (B, new_extent, K) and their weights; zero rows from `new` on."""
    weights = weights * (torch.arange(taps.shape[1], device=new.device) < new)[..., None]
    matrix = weights.new_zeros(*taps.shape[:2], old_extent)
    return matrix.scatter_add_(2, taps.clamp(max=old_extent - 1), weights)


_INTERPOLATIONS = {"bilinear": _bilinear, "bicubic": _bicubic, "cubic": _centred}

"""Masks: what of a picture was added to it, with soft edges."""

from __future__ import annotations

import math
from os import PathLike

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hyperconv.data.images import read_photo, with_channels
from hyperconv.errors import InputError

REFERENCE = 250  # px, long side of the images that the published radius and blur are for
BLUR = 5.0  # px, sigma there
OPAQUE = 128  # alpha of 255 from which a pixel's colour counts: edges of an opaque mask may be a little transparent
MOSTLY = 0.5  # a mask that marks more than this much of its picture is likely an inverted one


def read_mask(path: str | PathLike) -> tuple[Tensor, list[str]]:
    """A mask from an image file, white where something was added: (H, W) of 0 and 1, and remarks, one line each.

    InputError for one with transparent parts (is the mask its colour or its alpha?) and for one without any white.
    """
    photo = read_photo(path)
    with Image.open(path) as image:
        clear = image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < OPAQUE
    if clear:
        raise InputError(f"{path}: the mask has transparent parts; save it in black and white, without alpha")
    mask = (with_channels(photo.pixels, 1)[0] > 0).float()
    marked = mask.mean().item()
    if marked == 0:
        raise InputError(f"{path}: the mask is empty (all dark); paint white what was added to the picture")
    remarks = [f"{path}: {note}" for note in photo.notes]
    if marked > MOSTLY:
        remarks.append(f"{path}: {marked:.0%} of the mask is white; white marks what was added: is it inverted?")
    return mask, remarks


def soft_mask(mask: Tensor, size: tuple[int, int], radius: float) -> Tensor:
    """A mask (H, W) of 0 and 1 as weights (1, *size) in [0, 1]: resized, dilated, blurred.

    radius: of the disk it is dilated with, in pixels of an image of 250 pixels; it and the blur (Gaussian, sigma 5)
    grow and shrink with the image. As ConSinGAN's public code, which brings the result to a range of 0 to 1.
    """
    scale = max(size) / REFERENCE
    small = F.interpolate(mask.float()[None, None], size, mode="area") > 0
    soft = _blur(_dilate(small.float(), radius * scale), BLUR * scale)[0]
    least, most = soft.min(), soft.max()
    return (soft - least) / (most - least) if most > least else soft


def _dilate(mask: Tensor, radius: float) -> Tensor:
    """1 wherever the mask (1, 1, H, W) has a 1 within `radius` pixels."""
    reach = int(radius)
    distance = torch.arange(-reach, reach + 1, device=mask.device).float()
    disk = (distance[:, None].square() + distance.square() <= radius**2).float()
    return (F.conv2d(mask, disk[None, None], padding=reach) > 0.5).float()


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (1, 1, H, W), the edge repeated beyond it."""
    reach = math.ceil(4 * sigma)
    kernel = torch.exp(-torch.arange(-reach, reach + 1, device=image.device).float().square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum())[None, None, None]
    padded = F.pad(image, [reach] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel), kernel.mT).clamp(0, 1)

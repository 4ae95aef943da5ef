"""The colours of a photo: few that stand for all (k-means), and other pictures painted or tinted with them."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 50  # of k-means, at most
FAINT = 1e-6  # variance of a colour that hardly varies
EXACT = "donot_use_mm_for_euclid_dist"  # torch.cdist loses small distances otherwise


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


def recoloured(picture: Tensor, photo: Tensor) -> Tensor:
    """The picture (C, H, W) in [-1, 1] with mean and covariance of its colours as in the photo (C, h, w).

    The linear map that moves colours least (Pitie and Kokaram 2007, the linear Monge-Kantorovitch solution).
    """
    pixels, wanted = picture.double().flatten(1), photo.double().flatten(1)
    own = _covariance(pixels)
    there, back = _power(own, 0.5), _power(own, -0.5)
    change = back @ _power(there @ _covariance(wanted) @ there, 0.5) @ back
    result = change @ (pixels - pixels.mean(dim=1, keepdim=True)) + wanted.mean(dim=1, keepdim=True)
    return result.clamp(-1, 1).to(picture.dtype).reshape(picture.shape)


def _covariance(pixels: Tensor) -> Tensor:
    """(C, C) of pixels (C, N), never quite singular."""
    centred = pixels - pixels.mean(dim=1, keepdim=True)
    return centred @ centred.T / pixels.shape[1] + FAINT * torch.eye(len(pixels)).to(pixels)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=FAINT**2).pow(exponent)) @ vectors.T


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

"""Randomness as a function of (seed, what it is for): nothing to save, nothing to restore."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def seeded(device: torch.device | str, seed: int, *purpose: int | str) -> torch.Generator:
    """A generator whose stream depends on the seed and the purpose (a word, a scale, a step) alone."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def white(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Standard normal noise on the generator's device."""
    return torch.randn(shape, generator=source, device=source.device)


def on_canvas(
    channels: int, sizes: Sequence[tuple[int, int]], extent: tuple[int, int], begin: Callable[[], torch.Generator]
) -> Tensor:
    """Noise (N, channels, *extent) for images of these sizes, zero beyond each: that of an image depends on its size alone.

    Every size starts a stream of its own, `begin()`, so equal sizes get equal noise. Not to be written to: rows may
    share memory.
    """
    drawn = {size: white((channels, *size), begin()) for size in dict.fromkeys(sizes)}
    if list(drawn) == [extent]:
        return drawn[extent].expand(len(sizes), -1, -1, -1)
    canvas = next(iter(drawn.values())).new_zeros(len(sizes), channels, *extent)
    for row, size in zip(canvas, sizes):
        row[:, : size[0], : size[1]] = drawn[size]
    return canvas

"""Randomness as a function of (seed, what it is for): nothing to save, nothing to restore."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(device: torch.device | str, seed: int, *purpose: int | str) -> torch.Generator:
    """A generator whose stream depends on the seed and the purpose (a word, a scale, a step) alone."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def white(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Standard normal noise on the generator's device."""
    return torch.randn(shape, generator=source, device=source.device)

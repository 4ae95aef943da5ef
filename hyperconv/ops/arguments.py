"""Arguments that several functions take: settings made whole, and tensors checked beside one another."""

from collections.abc import Sequence

import torch
from torch import Tensor

DTYPES = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})


def pair(name: str, value: int | Sequence[int], smallest: int) -> tuple[int, int]:
    """(vertical, horizontal) of one int or two; ValueError, with the argument's name, where they are too small."""
    both = (value, value) if isinstance(value, int) else tuple(value) * (2 if len(value) == 1 else 1)
    if len(both) != 2 or both[0] < smallest or both[1] < smallest:
        raise ValueError(f"{name} must be one int or two, each at least {smallest}, got {value}")
    return both


def check_kinds(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """All on one device (else ValueError) and of one dtype, or of several that autocast unites (else TypeError)."""
    device, dtype = input.device, input.dtype
    for name, other in (("weight", weight), ("bias", bias)):
        if other is not None and not (other.device == device and other.dtype is dtype and dtype in DTYPES):
            _check_kind(input, name, other)


def _check_kind(input: Tensor, name: str, other: Tensor) -> None:
    if other.device != input.device:
        raise ValueError(f"{name} is on {other.device} and input on {input.device}; move one of them")
    if input.dtype not in DTYPES or other.dtype not in DTYPES:
        raise TypeError(f"input is {input.dtype} and {name} {other.dtype}; float32, 64, 16 and bfloat16 work")
    if other.dtype != input.dtype and not _autocast_unites(input, other):
        raise TypeError(f"input is {input.dtype} and {name} {other.dtype}; convert one, or use autocast")


def _autocast_unites(input: Tensor, other: Tensor) -> bool:
    """Autocast takes every dtype but float64 to its own."""
    return torch.is_autocast_enabled(input.device.type) and torch.float64 not in (input.dtype, other.dtype)

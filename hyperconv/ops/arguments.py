"""Arguments that several functions take: settings made whole, and tensors checked beside one another."""

import numbers
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

DTYPES = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})


def pair(name: str, value: int | Sequence[int], smallest: int) -> tuple[int, int]:
    """(vertical, horizontal) of one int or two; an error that names the argument where they are none or too small."""
    if type(value) is int:
        both = value, value
    elif type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        both = value
    else:
        both = _two(name, value)
    if both[0] < smallest or both[1] < smallest:
        raise ValueError(f"{name} must be one int or two, each at least {smallest}, got {value}")
    return both


def _two(name: str, value: object) -> tuple[int, int]:
    """Of numbers that only count as ints, as NumPy's and symbolic ones do."""
    values = [value] if hasattr(value, "__index__") else value
    try:
        values = tuple(operator.index(one) for one in values)
    except TypeError:
        raise TypeError(f"{name} must be one int or two, got {value!r}") from None
    if len(values) not in (1, 2):
        raise ValueError(f"{name} must be one int or two, got {value}")
    return values if len(values) == 2 else values * 2


def integer(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r}") from None


def real(name: str, value: float) -> float:
    """A number that is no tensor: one would get no gradient."""
    if isinstance(value, (torch.SymFloat, torch.SymInt)):
        return value
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"{name} must be a real number, got {type(value).__name__}")


def check_tensors(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """TypeError for one that is no tensor or not dense."""
    for name, value in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(value, Tensor) and not (name == "bias" and value is None):
            raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}")
        if value is not None and value.layout != torch.strided:
            raise TypeError(f"{name} is {value.layout}, and only dense tensors are convolved; call {name}.to_dense()")


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

"""How products are taken: in the operands' dtype, or float32 in TF32 where torch's own switch allows that."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

ARITHMETICS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
"""The dtype of the operands, by arithmetic."""

DTYPE_NAMES = {dtype: str(dtype).removeprefix("torch.") for dtype in ARITHMETICS.values()}


def arithmetic_of(tensor: Tensor) -> str:
    """In which of `ARITHMETICS` products of this tensor are taken now."""
    if tensor.dtype == torch.float32 and _float32_precision() == "tf32":
        return "tf32"
    return DTYPE_NAMES.get(tensor.dtype, "unsupported")


def _float32_precision() -> str:
    """torch.backends.cudnn.conv.fp32_precision, without the checks that make reading it slow."""
    if _precision_getter is None:
        return torch.backends.cudnn.conv.fp32_precision
    return _precision_getter("cuda", "conv")


_precision_getter = getattr(torch._C, "_get_fp32_precision_getter", None)


@contextmanager
def products_in(arithmetic: str) -> Iterator[None]:
    """torch's own switch is set as this arithmetic needs it inside, and set back at the end."""
    switch = torch.backends.cudnn.conv
    before = switch.fp32_precision
    switch.fp32_precision = "tf32" if arithmetic == "tf32" else "ieee"
    try:
        yield
    finally:
        switch.fp32_precision = before

"""In what precision products are taken: float32, TF32, or bfloat16 in the generated nets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("fp32", "tf32", "bf16")


def generated_dtype(precision: str) -> torch.dtype:
    """What the generated nets compute in.

    Only they, at 'bf16': their convolutions are nearly all of the arithmetic. The hypernetwork's own product is bound
    by reading its parameters, which a cast to bfloat16 would read and write once more; images between scales, norms,
    losses, gradients of parameters and optimizers stay in float32.
    """
    return torch.bfloat16 if precision == "bf16" else torch.float32


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """PyTorch's switches for float32 products on a GPU: exact at 'fp32', else TF32; restored at the end."""
    name, exact, tf32 = _switch()
    owners = (torch.backends.cudnn, torch.backends.cuda.matmul)
    if name == "fp32_precision":
        owners = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [getattr(owner, name) for owner in owners]
    try:
        for owner in owners:
            setattr(owner, name, exact if precision == "fp32" else tf32)
        yield
    finally:
        for owner, value in zip(owners, before):
            setattr(owner, name, value)


def _switch() -> tuple[str, object, object]:
    """The name of the switches, their values for exact products and for TF32.

    PyTorch has two sets of them. Reading the older one fails once somebody has set the newer one, and setting the
    newer one would make the older one fail for everybody else.
    """
    try:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32  # noqa: B018 - raises where mixed
        return "allow_tf32", False, True
    except RuntimeError:
        return "fp32_precision", "ieee", "tf32"

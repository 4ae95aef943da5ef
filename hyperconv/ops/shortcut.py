"""The short way to an operator: past the dispatcher, where nothing but its derivative and a device's kernel would run."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hyperconv.ops import backends
from hyperconv.ops.schema import operator

_transforms_active = torch._C._are_functorch_transforms_active

# How many arguments come first that are tensors, or None.
TENSORS = {
    "conv2d": 3, "masked_conv2d": 4, "input_gradient": 3, "weight_gradient": 3, "bias_gradient": 2,
    "parameter_gradients": 3,
}  # fmt: skip

record: dict[str, Callable] = {}
"""Per operator what computes a call and remembers how to differentiate it; `hyperconv.ops.autograd` puts it here."""

_closing = threading.Lock()
_closed = 0  # how many want the short way closed, of all threads: the other ways are only longer


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """Inside, every call goes through the dispatcher."""
    global _closed
    with _closing:
        _closed += 1
    try:
        yield
    finally:
        with _closing:
            _closed -= 1


_PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter, type(None)})


def direct(name: str):
    """The public operator, by a shorter way where nothing but its derivative and a device's kernel would run.

    Each trip through the dispatcher costs as much as the smallest layers take to compute.
    """
    op, implementation, count = operator(name), backends.implementation(name), TENSORS[name]

    def call(*args):
        tensors = args[:count]
        if torch.compiler.is_compiling() or not plain(tensors):
            return op(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*tensors):
            return record[name](args)
        return implementation(*args)

    return call


def plain(tensors: tuple) -> bool:
    """Whether no subclass, mode, transform, trace or autocast region would see a call of these tensors."""
    first = tensors[0]
    return (
        not _closed
        and _PLAIN_TYPES.issuperset(map(type, tensors))
        and (first.is_cpu or first.is_cuda)
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._is_any_autocast_enabled()
        and not _transforms_active()
        and forward_ad._current_level < 0
        and torch._C._get_tracing_state() is None
    )

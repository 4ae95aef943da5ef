"""What a CUDA graph does, on a CPU: the operators of a call are taken down and executed again on the same tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS_ON_THE_HOST = (
    "_local_scalar_dense",
    "item",
    "nonzero",
    "is_nonzero",
    "equal",
    "masked_select",
    "_unique2",
    "unique_dim",
    "bincount",
    "is_pinned",
)
FROM_THE_HOST = ("lift_fresh", "lift", "from_file", "_pin_memory")  # torch.tensor(...), a copy from pageable memory


class GraphUnsafe(AssertionError):
    """An operator that a CUDA graph cannot hold."""


class GraphSafe(TorchDispatchMode):
    """Fails on operators that make the host wait for a value or bring a new one of its own to the device."""

    def __enter__(self):
        self.kept = {name: getattr(Tensor, name) for name in ("tolist", "numpy")}  # on a CPU these are no operators
        for name in self.kept:
            setattr(Tensor, name, _refuse(name))
        return super().__enter__()

    def __exit__(self, *error):
        for name, method in self.kept.items():
            setattr(Tensor, name, method)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READS_ON_THE_HOST or by_mask:
            raise GraphUnsafe(f"{func} reads a tensor on the host")
        if name in FROM_THE_HOST:
            raise GraphUnsafe(f"{func} makes a tensor of the host's numbers")
        return self.execute(func, args, kwargs or {})

    def execute(self, func, args, kwargs):
        return func(*args, **kwargs)


def _refuse(name: str) -> Callable:
    def method(*_args, **_options):
        raise GraphUnsafe(f"Tensor.{name} reads a tensor on the host")

    return method


class _Tape(GraphSafe):
    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def execute(self, func, args, kwargs):
        output = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, output))
        return output

    def replay(self) -> None:
        for func, args, kwargs, output in self.calls:
            again = func(*args, **kwargs)
            inputs = {_memory(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
            for old, new in zip(tree_leaves(output), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and _memory(old) not in inputs:  # else a view, or written in place
                    old.copy_(new)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class TapeRecorder:
    """Stands in for `CudaRecorder`. state: what a call changes; recording executes it, so it is put back."""

    def __init__(self, state: Callable[[], Sequence[Tensor]]) -> None:
        self.state = state
        self.recorded = self.replayed = 0

    def run(self, function: Callable[[], Tensor]) -> Tensor:
        return function()

    def record(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        state = self.state()
        before, tape = [tensor.detach().clone() for tensor in state], _Tape()
        with tape:
            output = function()
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        self.recorded += 1

        def replay() -> None:
            with torch.no_grad():
                tape.replay()
            self.replayed += 1

        return replay, output

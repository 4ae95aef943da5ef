"""Sending kernels off: the first run compiles through Triton, every later one goes straight to the compiled kernel.

Triton's own launcher binds, specialises and hashes all arguments at each call. A `Launch` belongs to a plan whose key
holds all that a specialisation depends on (shapes, strides, alignments, dtypes), so it does this once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import triton
from torch import Tensor

INTERPRETED = triton.knobs.runtime.interpret
"""Whether the kernels run in Triton's interpreter, on the CPU: TRITON_INTERPRET=1 when they were imported."""


class Launch:
    """One kernel and all its arguments but the tensors, which come first; `constants` are its constexprs in order."""

    __slots__ = ("_run", "arguments", "constants", "kernel", "programs", "stages", "warps")

    def __init__(self, kernel, programs: int, arguments: tuple, constants: tuple, warps: int, stages: int):
        self.kernel, self.programs = kernel, programs
        self.arguments, self.constants = arguments, constants
        self.warps, self.stages = warps, stages
        self._run = None

    def __call__(self, *tensors: Tensor | None) -> None:
        if self._run is None:
            if _rehearsal is not None:
                _rehearsal.append((self, tensors))
                return
            compiled = self.kernel[(self.programs,)](
                *tensors,
                *self.arguments,
                *self.constants,
                num_warps=self.warps,
                num_stages=self.stages,
                enable_fp_fusion=True,
            )
            if not INTERPRETED:
                self._run = compiled[(self.programs, 1, 1)]
        else:
            self._run(*tensors, *self.arguments, *self.constants)


_MULTIPROCESSORS = {"8.0": 108, "9.0": 132, "10.0": 148}
"""Of A100, H100 SXM and H200, B200."""

_stands_in = "9.0"
"""The capability that plans for a tensor off the GPU are made for."""

_rehearsal: list[tuple[Launch, tuple[Tensor | None, ...]]] | None = None


@contextmanager
def rehearse(name: str) -> Iterator[list[tuple[Launch, tuple[Tensor | None, ...]]]]:
    """Plan for a GPU of capability `name` that need not be there: the operators take tensors of any device ("meta"
    holds no memory), and their launches are listed with their tensors instead of run."""
    global _stands_in, _rehearsal
    before = _stands_in, _rehearsal
    _stands_in, _rehearsal = name, []
    try:
        yield _rehearsal
    finally:
        _stands_in, _rehearsal = before


def multiprocessors(device: torch.device) -> int:
    """How many programs of a usual size run at once, roughly; few in the interpreter, which runs one."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return 4 if _rehearsal is None else _MULTIPROCESSORS[_stands_in]


def capability(device: torch.device) -> str:
    """'9.0' of a Hopper GPU; the interpreter stands in for one."""
    return "{}.{}".format(*torch.cuda.get_device_capability(device)) if device.type == "cuda" else _stands_in

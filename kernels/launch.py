"""Sending kernels off: the first run compiles through Triton, every later one goes straight to the compiled kernel.

Triton's own launcher binds, specialises and hashes all arguments at each call. A `Launch` belongs to a plan whose key
holds all that a specialisation depends on (shapes, strides, alignments, dtypes), so it does this once.
"""

import torch
import triton
from torch import Tensor

INTERPRETED = triton.knobs.runtime.interpret
"""Whether the kernels run in Triton's interpreter, on the CPU: TRITON_INTERPRET=1 when they were imported."""


class Launch:
    """One kernel and all its arguments but the tensors, which come first; `constants` are its constexprs in order."""

    __slots__ = ("kernel", "programs", "arguments", "constants", "warps", "stages", "_run")

    def __init__(self, kernel, programs: int, arguments: tuple, constants: tuple, warps: int, stages: int):
        self.kernel, self.programs = kernel, programs
        self.arguments, self.constants = arguments, constants
        self.warps, self.stages = warps, stages
        self._run = None

    def __call__(self, *tensors: Tensor | None) -> None:
        if self._run is None:
            compiled = self.kernel[(self.programs,)](
                *tensors, *self.arguments, *self.constants,
                num_warps=self.warps, num_stages=self.stages, enable_fp_fusion=True,
            )
            if not INTERPRETED:
                self._run = compiled[(self.programs, 1, 1)]
        else:
            self._run(*tensors, *self.arguments, *self.constants)


def multiprocessors(device: torch.device) -> int:
    """How many programs of a usual size run at once, roughly."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def capability(device: torch.device) -> str:
    """'9.0' of a Hopper GPU; the interpreter stands in for one."""
    return "{}.{}".format(*torch.cuda.get_device_capability(device)) if device.type == "cuda" else "9.0"

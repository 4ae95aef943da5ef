"""A small call of a kernel class, and how far a backend's answer to it is from the exact one.

The exact answer is the reference's in float64 on the CPU, for operands rounded to the call's dtype. An answer is right
when its largest error is at most twice PyTorch's own on the same device in the same dtype.
"""

import dataclasses
import math
import time
from types import ModuleType

import torch
from torch import Tensor

from hyperconv.kernels.arithmetic import ARITHMETICS
from hyperconv.kernels.configurations import Layer
from hyperconv.ops import reference
from hyperconv.ops.specimen import Operands, draw, specimens


@dataclasses.dataclass(frozen=True)
class Trial:
    """One operation in one class and arithmetic, with one of `VARIANTS` of a layer in that class."""

    operation: str
    layer: Layer
    arithmetic: str
    variant: str = "usual"

    def __str__(self) -> str:
        return f"{self.operation} {self.layer} {self.arithmetic}"

    @property
    def dtype(self) -> torch.dtype:
        return ARITHMETICS[self.arithmetic]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The largest error of a backend, PyTorch's own and the bound, all in units of the largest exact value.

    `problem` says in words what is wrong; without an error in numbers it is an exception, values that are not finite
    or a wrong layout. An outcome that is not `conclusive` says nothing of the kernels: memory or the reference failed.
    """

    error: float | None = None
    pytorch: float | None = None
    bound: float | None = None
    problem: str | None = None
    milliseconds: float | None = None
    conclusive: bool = True

    @property
    def passed(self) -> bool:
        return self.problem is None

    def badness(self) -> float:
        """For comparing: up to 1 is right."""
        return math.inf if self.error is None or not self.bound else self.error / self.bound

    def __str__(self) -> str:
        if self.error is None:
            return "no numbers"
        return f"error {self.error:.1e}, PyTorch's own {self.pytorch:.1e}, at most {self.bound:.1e} allowed"


class Question:
    """A trial's arguments on a device, the exact answers and what error is allowed."""

    def __init__(self, trial: Trial, device: torch.device):
        self.trial, self.device = trial, device
        specimen = specimens(trial.operation, trial.arithmetic, trial.variant)[trial.layer]
        operands = draw(specimen, trial.dtype)
        self.args = operands.each(lambda tensor: tensor.to(device)).arguments(trial.operation)
        self.exact = self._exact(operands)
        self.likeness = _answers(reference, trial.operation, self.args)
        self.pytorch = [_error(*pair) for pair in zip(self.likeness, self.exact, strict=True)]
        if trial.arithmetic == "tf32":
            # PyTorch may compute a layer in full float32 all the same.
            pairs = zip(self._exact(operands.each(read_as_tf32)), self.exact, strict=True)
            self.pytorch = [max(own, _error(*pair)) for own, pair in zip(self.pytorch, pairs, strict=True)]
        # What rounding the result and summing plainly cost: no more is asked of anybody.
        total = torch.float64 if trial.dtype == torch.float64 else torch.float32
        sums = torch.finfo(total).eps * math.sqrt(specimen.terms(trial.operation))
        self.rounding = (torch.finfo(trial.dtype).eps + sums) / 2

    def _exact(self, operands: Operands) -> tuple[Tensor, ...]:
        args = operands.each(Tensor.double).arguments(self.trial.operation)
        return _answers(reference, self.trial.operation, args)

    def judge(self, backend: ModuleType, timed: bool = False) -> Outcome:
        """How a backend answers; `timed` says how long a second call takes."""
        answers = _answers(backend, self.trial.operation, self.args)
        outcomes = [
            self._compare(*parts) for parts in zip(answers, self.likeness, self.exact, self.pytorch, strict=True)
        ]
        worst = max(outcomes, key=Outcome.badness)
        if not timed:
            return worst
        started = time.perf_counter()
        _answers(backend, self.trial.operation, self.args)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return dataclasses.replace(worst, milliseconds=1e3 * (time.perf_counter() - started))

    def _compare(self, answer: Tensor, like: Tensor, exact: Tensor, pytorch: float) -> Outcome:
        bound = 2 * max(pytorch, self.rounding)
        for name in ("dtype", "shape"):
            if getattr(answer, name) != getattr(like, name):
                problem = f"a result of {name} {getattr(answer, name)} instead of {getattr(like, name)}"
                return Outcome(pytorch=pytorch, bound=bound, problem=problem)
        if _steps(answer) != _steps(like):
            return Outcome(
                pytorch=pytorch, bound=bound, problem=f"strides {answer.stride()} instead of {like.stride()}"
            )
        error = _error(answer, exact)
        if not math.isfinite(error):
            return Outcome(pytorch=pytorch, bound=bound, problem="values that are not finite")
        return Outcome(error, pytorch, bound, None if error <= bound else "a wrong result")


_NO_FAULT = (torch.OutOfMemoryError, MemoryError, OSError)


def attempt(trial: Trial, device: torch.device, backend: ModuleType, timed: bool = False) -> Outcome:
    """Ask and judge; an exception is an outcome too. Call it in a thread that no mode of torch is active in."""
    asked = False
    try:
        with torch.no_grad(), torch.cuda.device(device if device.type == "cuda" else -1):
            question = Question(trial, device)
            asked = True
            return question.judge(backend, timed)
    except Exception as error:  # noqa: BLE001  whatever a kernel raises is its answer
        return Outcome(problem=describe(error), conclusive=asked and not isinstance(error, _NO_FAULT))


def describe(error: Exception) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def variants(operation: str, layer: Layer, arithmetic: str) -> list[str]:
    """The variants of a class that its check tries."""
    return [name for name in ("usual", "exchanged") if layer in specimens(operation, arithmetic, name)]


def read_as_tf32(values: Tensor) -> Tensor:
    """What a matrix unit reads of float32 in TF32: the first 10 bits of the fraction."""
    return (values.view(torch.int32) & ~0x1FFF).view(torch.float32)


def _answers(backend: ModuleType, operation: str, args: tuple) -> tuple[Tensor, ...]:
    result = getattr(backend, operation)(*args)
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _steps(tensor: Tensor) -> list[int]:
    """Strides along the axes that have more than one entry."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def _error(answer: Tensor, exact: Tensor) -> float:
    return ((answer.cpu().double() - exact).abs().max() / exact.abs().max()).item()

"""Trust in kernels for GPUs, earned on the user's own device: each class is checked before `auto` first uses it.

A check is a small call beside the reference (`hyperconv.ops.trial`), in a thread of its own: no mode, autocast, stream
or random state of the caller reaches it, and it reaches none of theirs. It never runs where it could break something:
while a CUDA graph is being captured, or while a compiler traces. How it ended is kept (`hyperconv.ops.ledger`).
"""

import threading
import warnings
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor

from hyperconv import kernels
from hyperconv.kernels.configurations import Layer
from hyperconv.ops import ledger, native
from hyperconv.ops.trial import Outcome, Trial, attempt, describe, variants

SELFTEST = "run `hyperconv selftest` and report its table"


class Kernel(NamedTuple):
    """A backend's kernel of one class in one arithmetic, on one device."""

    backend: str
    operation: str
    layer: Layer
    arithmetic: str
    device: torch.device

    @property
    def subject(self) -> str:
        """Its name in the ledger."""
        trial = str(Trial(self.operation, self.layer, self.arithmetic))
        return trial if self.backend == "triton" else f"{self.backend} {trial}"


class Verdict(NamedTuple):
    """Whether a class may compute; `settled` is False where the question could not be asked at this moment."""

    trusted: bool
    reason: str
    settled: bool = True


_lock = threading.Lock()
_verdicts: dict[Kernel, Verdict] = {}
_WORDS = {"triton": "Triton's kernel", "native": "the CUDA kernel"}
_warned: set[str] = set()


def verdict(kernel: Kernel, tensor: torch.Tensor) -> Verdict:
    """Whether a kernel may compute on this tensor, checking it if nobody knows."""
    with _lock:
        known = _verdicts.get(kernel)
        if known is None:
            outcome, when = ledger.recall(kernel.device, kernel.subject), "earlier"
            if outcome is None and (reason := _not_now(tensor)):
                known = Verdict(False, f"not checked on this device yet, and {reason}", settled=False)
            else:
                if outcome is None:
                    outcome, when = _check(kernel), "just now"
                known = _verdicts[kernel] = _judge(outcome, when)
    if not known.trusted:
        _warn_once(kernel, known)
    return known


def distrust(kernel: Kernel, error: Exception) -> None:
    """A call failed after all: the kernel computes no more in this process."""
    refused = Verdict(False, f"it raised {describe(error)}")
    with _lock:
        _verdicts[kernel] = refused
    _warn_once(kernel, refused)


def _not_now(tensor: torch.Tensor) -> str | None:
    """Why a check at this moment could break something."""
    if isinstance(tensor, FakeTensor) or torch.compiler.is_compiling():
        return "a compiler is tracing"
    if tensor.is_cuda:
        with torch.cuda.device(tensor.device):
            if torch.cuda.is_current_stream_capturing():
                return "a CUDA graph is being captured: run the step once before capturing it"
    return None


def _check(kernel: Kernel) -> Outcome:
    """The worst outcome of the class's trials."""
    backend, *of_class, device = kernel
    outcomes: list[Outcome] = []
    module = kernels if backend == "triton" else native

    def work() -> None:
        outcomes.extend(attempt(Trial(*of_class, variant), device, module) for variant in variants(*of_class))

    worker = threading.Thread(target=work, name="hyperconv check")
    worker.start()
    worker.join()
    nothing = Outcome(problem="no layer to try it with is known", conclusive=False)
    worst = max(outcomes, key=Outcome.badness, default=nothing)
    ledger.note(device, kernel.subject, worst)
    return worst


def _judge(outcome: Outcome, when: str) -> Verdict:
    checked = f"checked against the reference on this device {when}: {outcome}"
    return Verdict(True, checked) if outcome.passed else Verdict(False, f"{outcome.problem}, {checked}")


def _warn_once(kernel: Kernel, refused: Verdict) -> None:
    where = ledger.setting(kernel.device)["device"]
    what = f"{kernel.operation} of class {kernel.layer} in {kernel.arithmetic} on {where}"
    text = f"hyperconv computes {what} by the reference, slowly; {_WORDS[kernel.backend]}: {refused.reason}"
    if refused.settled:
        text += f"; {SELFTEST}"
    with _lock:
        if text in _warned:
            return
        _warned.add(text)
    warnings.warn(text, RuntimeWarning, stacklevel=2)

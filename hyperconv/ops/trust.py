"""Trust in kernels for GPUs, Triton's or those of csrc/, earned on the user's own device: each class is checked before `auto` first uses it.

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


class Verdict(NamedTuple):
    """Whether a class may compute; `settled` is False where the question could not be asked at this moment."""

    trusted: bool
    reason: str
    settled: bool = True


_lock = threading.Lock()
_verdicts: dict[tuple[torch.device, str], Verdict] = {}
_KERNELS = {"triton": "Triton's kernel", "native": "the CUDA kernel"}
_warned: set[str] = set()


def verdict(backend: str, operation: str, layer: Layer, arithmetic: str, tensor: torch.Tensor) -> Verdict:
    """Whether a backend's kernel of this class may compute on the tensor's device, checking it if nobody knows."""
    device, subject = tensor.device, _subject(backend, operation, layer, arithmetic)
    with _lock:
        known = _verdicts.get((device, subject))
        if known is None:
            outcome, when = ledger.recall(device, subject), "earlier"
            if outcome is None and (reason := _not_now(tensor)):
                known = Verdict(False, f"not checked on this device yet, and {reason}", settled=False)
            else:
                if outcome is None:
                    outcome, when = _check(backend, operation, layer, arithmetic, device), "just now"
                known = _verdicts[device, subject] = _judge(outcome, when)
    if not known.trusted:
        _warn_once(backend, operation, layer, arithmetic, device, known)
    return known


def distrust(backend: str, operation: str, layer: Layer, arithmetic: str, device: torch.device, error: Exception) -> None:
    """A call of a class failed after all: the class computes no more in this process."""
    refused = Verdict(False, f"it raised {describe(error)}")
    with _lock:
        _verdicts[device, _subject(backend, operation, layer, arithmetic)] = refused
    _warn_once(backend, operation, layer, arithmetic, device, refused)


def _subject(backend: str, operation: str, layer: Layer, arithmetic: str) -> str:
    trial = str(Trial(operation, layer, arithmetic))
    return trial if backend == "triton" else f"{backend} {trial}"


def _not_now(tensor: torch.Tensor) -> str | None:
    """Why a check at this moment could break something."""
    if isinstance(tensor, FakeTensor) or torch.compiler.is_compiling():
        return "a compiler is tracing"
    if tensor.is_cuda:
        with torch.cuda.device(tensor.device):
            if torch.cuda.is_current_stream_capturing():
                return "a CUDA graph is being captured: run the step once before capturing it"
    return None


def _check(backend: str, operation: str, layer: Layer, arithmetic: str, device: torch.device) -> Outcome:
    """The worst outcome of the class's trials."""
    outcomes: list[Outcome] = []
    module = kernels if backend == "triton" else native

    def work() -> None:
        for variant in variants(operation, layer, arithmetic):
            outcomes.append(attempt(Trial(operation, layer, arithmetic, variant), device, module))

    worker = threading.Thread(target=work, name="hyperconv check")
    worker.start()
    worker.join()
    nothing = Outcome(problem="no layer to try it with is known", conclusive=False)
    worst = max(outcomes, key=Outcome.badness, default=nothing)
    ledger.note(device, _subject(backend, operation, layer, arithmetic), worst)
    return worst


def _judge(outcome: Outcome, when: str) -> Verdict:
    checked = f"checked against the reference on this device {when}: {outcome}"
    return Verdict(True, checked) if outcome.passed else Verdict(False, f"{outcome.problem}, {checked}")


def _warn_once(backend: str, operation: str, layer: Layer, arithmetic: str, device: torch.device, refused: Verdict
               ) -> None:
    what = f"{operation} of class {layer} in {arithmetic} on {ledger.setting(device)['device']}"
    text = f"hyperconv computes {what} by the reference, slowly; {_KERNELS[backend]}: {refused.reason}"
    if refused.settled:
        text += f"; {SELFTEST}"
    with _lock:
        if text in _warned:
            return
        _warned.add(text)
    warnings.warn(text, RuntimeWarning, stacklevel=2)

"""A function of tensors as CUDA graphs, one per shape of its inputs: the host launches a whole step at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from hyperconv.gan.ranks import ALONE, Ranks

Inputs = TypeVar("Inputs", bound=tuple)
Compute = Callable[[Inputs], Tensor]

WARM_UP = 2  # eager steps of a shape before its capture: they count, and leave nothing to initialise or to compile
MOST_GRAPHS = 16  # of one function; shapes beyond that run eagerly

_logger = logging.getLogger(__name__)


def each(function: Callable[[Tensor], Tensor], value: Inputs) -> Inputs:
    """`value`, tensors and None in nested (named) tuples, with `function` applied to every tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if value is None:
        return None
    parts = [each(function, part) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def tensors(value: Inputs) -> list[Tensor]:
    """All tensors of `value`, in order."""
    found: list[Tensor] = []
    each(lambda tensor: found.append(tensor) or tensor, value)
    return found


class CudaRecorder:
    """Captures on a stream of its own; all its graphs share one pool of memory.

    They may: nothing in the pool outlives a replay but the outputs, which stay allocated.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def run(self, function: Callable[[], Tensor]) -> Tensor:
        """One eager call on the stream of the captures, in order with the current one."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            output = function()
        current.wait_stream(self.stream)
        output.record_stream(current)
        return output

    def record(self, function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """What replays the kernels of `function`, which is not executed now, and the tensor a replay writes."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            output = function()
        return graph.replay, output


class Recording(NamedTuple):
    """A captured call: `replay` reads `inputs` and writes `output`."""

    inputs: tuple
    replay: Callable[[], None]
    output: Tensor


class Graphed:
    """`compute(inputs)`, replayed from graphs where that works; `reason` says why not, else it is None.

    compute must be a function of the tensors it is given and of tensors that stay where they are (parameters,
    optimizer states), without a look at their values on the host. inputs: tensors and None in nested tuples. The
    first calls of a shape run eagerly, and on the stream of the capture, so that everything lazy happens in them. A
    capture that fails is reported once; from then on every call is eager.
    """

    def __init__(self, compute: Compute, recorder: CudaRecorder | None, reason: str | None = None) -> None:
        self.compute, self.recorder = compute, recorder
        self.reason = reason if recorder is None else None
        self.calls: Counter = Counter()
        self.recordings: dict[tuple, Recording] = {}

    def __call__(self, inputs: Inputs) -> Tensor:
        if self.recorder is None:
            return self.compute(inputs)
        shape = tuple((tensor.shape, tensor.dtype) for tensor in tensors(inputs))
        recording = self.recordings.get(shape)
        if recording is None:
            self.calls[shape] += 1
            if self.calls[shape] <= WARM_UP or len(self.recordings) == MOST_GRAPHS:
                return self.recorder.run(lambda: self.compute(inputs))
            recording = self._record(inputs)
            if recording is None:
                return self.compute(inputs)
            self.recordings[shape] = recording
        for static, given in zip(tensors(recording.inputs), tensors(inputs), strict=True):
            static.copy_(given)
        recording.replay()
        return recording.output.clone()

    def _record(self, inputs: Inputs) -> Recording | None:
        static = each(torch.clone, inputs)
        try:
            return Recording(static, *self.recorder.record(lambda: self.compute(static)))
        except Exception as error:  # noqa: BLE001 - whatever stops a capture, the step runs without it
            self.reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.recorder = None
            self.recordings.clear()
            _logger.warning("no CUDA graph of the training step, its kernels are launched one by one: %s", self.reason)
            return None


def graphed(compute: Compute, device: torch.device, ranks: Ranks = ALONE) -> Graphed:
    """`compute` with CUDA graphs on a GPU, and as it is elsewhere, or where it exchanges gradients with other processes."""
    if device.type != "cuda":
        return Graphed(compute, None, f"there are no CUDA graphs on {device.type}")
    if ranks.count > 1:
        return Graphed(compute, None, f"{ranks.count} processes add up their gradients in every step")
    return Graphed(compute, CudaRecorder(device))

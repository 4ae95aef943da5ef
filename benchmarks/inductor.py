"""Grouped convolution through torch.compile's autotuning, as a rival on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch

from hyperconv.bench.peers import grouped
from hyperconv.bench.phases import PHASES
from hyperconv.bench.rivals import Run


@cache
def compiled(function: Callable, *, autograd_inside: bool = False) -> Callable:
    """`function` through inductor's autotuning; `autograd_inside` where it calls torch.autograd.grad itself.

    A compiled module has no double backward, so a gradient penalty is compiled whole.
    """
    torch._dynamo.config.recompile_limit = 1000  # every layer is a shape of its own
    if autograd_inside:
        torch._dynamo.config.trace_autograd_ops = True
    return torch.compile(function, mode="max-autotune", fullgraph=True, dynamic=False)


def inductor_run(phase: str) -> Run:
    """Grouped convolution compiled with max-autotune, at its first call for each shape."""
    if phase == "penalty":
        return partial(compiled(PHASES[phase], autograd_inside=True), grouped)
    return partial(PHASES[phase], compiled(grouped))

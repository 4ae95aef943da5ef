"""A layer by this package and by every peer, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch

from hyperconv.bench.layer import Layer, problem
from hyperconv.bench.phases import PHASES
from hyperconv.bench.race import Race
from hyperconv.bench.rivals import OURS, check, rivals
from hyperconv.kernels.arithmetic import ARITHMETICS, products_in


class Comparison(NamedTuple):
    """Seconds of a call (medians) of every rival whose result is right, and what is wrong with the others."""

    layer: Layer
    phase: str
    seconds: dict[str, float]
    wrong: dict[str, str]

    @property
    def best_peer(self) -> str | None:
        """The quickest of the others; None where none of them could run."""
        return min(self.seconds.keys() - {OURS}, key=self.seconds.__getitem__, default=None)

    @property
    def speed_up(self) -> float | None:
        """How many times as quick as the best peer; None where there is nothing to compare."""
        if OURS not in self.seconds or self.best_peer is None:
            return None
        return self.seconds[self.best_peer] / self.seconds[OURS]


def compare(layer: Layer, arithmetic: str, device: torch.device, budget: float) -> Iterator[Comparison]:
    """Each phase of a layer, timed for about `budget` seconds after every result has been checked beside float64.

    arithmetic: one of `ARITHMETICS`. On a GPU the calls are timed as they are launched one by one, by its own clock.
    """
    with products_of_all_rivals(arithmetic), on(device):
        given = problem(layer, ARITHMETICS[arithmetic], device)
        for phase in PHASES:
            right, wrong = check(rivals(phase, device.type, each_backend=False), phase, given, arithmetic)
            calls = {name: partial(run, given) for name, run in right.items()}
            seconds = Race(calls, device.type, budget, stays=OURS).run() if calls else {}
            yield Comparison(layer, phase, seconds, wrong)


@contextmanager
def products_of_all_rivals(arithmetic: str) -> Iterator[None]:
    """The matrix products of a peer are in TF32 where convolutions are."""
    switch = torch.backends.cuda.matmul
    before = switch.fp32_precision
    switch.fp32_precision = "tf32" if arithmetic == "tf32" else "ieee"
    try:
        with products_in(arithmetic):
            yield
    finally:
        switch.fp32_precision = before


@contextmanager
def on(device: torch.device) -> Iterator[None]:
    """A GPU's clock is that of the current GPU."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        yield

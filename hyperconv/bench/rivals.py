"""Who takes part: every peer, and this package by its own choice and by each backend that runs here."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from hyperconv.bench.layer import NEGATIVE_SLOPE, Problem
from hyperconv.bench.peers import PEERS
from hyperconv.bench.phases import PHASES, TOLERANCE, Results, errors
from hyperconv.ops.backends import backends, use_backend
from hyperconv.ops.functional import hyper_conv2d

Run = Callable[[Problem], Results]
OURS = "hyperconv"


def hyperconv_layer(input: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """The layer by this package: one call."""
    return hyper_conv2d(input, weight, bias, stride, padding, activation="leaky_relu", negative_slope=NEGATIVE_SLOPE)


def rivals(phase: str, device: str, each_backend: bool = True) -> dict[str, Run]:
    """Name -> one run of the phase; this package by its own choice, and with `each_backend` by each that runs here."""
    runs: dict[str, Run] = {name: partial(PHASES[phase], apply) for name, apply in PEERS.items()}
    runs[OURS] = partial(PHASES[phase], hyperconv_layer)
    for backend, reasons in backends().items():
        if each_backend and reasons[device] is None:
            runs[f"{OURS}-{backend}"] = partial(_on_backend, backend, phase)
    return runs


def _on_backend(backend: str, phase: str, problem: Problem) -> Results:
    with use_backend(backend):
        return PHASES[phase](hyperconv_layer, problem)


def check(runs: dict[str, Run], phase: str, problem: Problem, arithmetic: str) -> tuple[dict[str, Run], dict[str, str]]:
    """The rivals whose results are right, and for each of the others what is not."""
    wrong = {}
    for name, run in runs.items():
        try:
            found = errors(phase, run(problem), problem)
        except Exception as error:  # noqa: BLE001 - one that cannot run here loses its column only
            wrong[name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            continue
        worst = max(found, key=lambda result: math.inf if math.isnan(found[result]) else found[result])
        if not found[worst] <= TOLERANCE[arithmetic]:
            wrong[name] = f"relative error {found[worst]:.1e} in {worst!r}, allowed {TOLERANCE[arithmetic]:.0e}"
    return {name: run for name, run in runs.items() if name not in wrong}, wrong

"""What is timed: calls in turn, calls in a CUDA graph; and how long one may take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hyperconv.bench.race import Function
from hyperconv.kernels.capture import captured


def rotating(functions: Sequence[Function]) -> Function:
    """One function that calls the given ones in turn: inputs of their own do not sit in the cache."""
    turn = 0

    def call() -> object:
        nonlocal turn
        turn = (turn + 1) % len(functions)
        return functions[turn]()

    return call


def in_a_graph(functions: Sequence[Function]) -> Function:
    """One function that replays all calls in a row from a CUDA graph."""

    def all_in_a_row() -> None:
        for function in functions:
            function()

    graph, _ = captured(all_in_a_row)
    return graph.replay


class Allowance:
    """Seconds that may be spent on something; what runs in `spending` counts, to its end."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.left -= time.monotonic() - begun

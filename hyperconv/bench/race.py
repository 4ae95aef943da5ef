"""Clocks for CPU and GPU, and a race in which every rival is timed in every round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Function = Callable[[], object]
CLOCKS = {"cpu": time.perf_counter, "processor": time.process_time}
"""'processor': seconds that a CPU spends on this process, which a busy neighbour hardly changes."""


def seconds(function: Function, device: str, repeats: int = 1) -> float:
    """Seconds of one call, averaged over `repeats` calls in a row; device events on a GPU."""
    if device in CLOCKS:
        clock = CLOCKS[device]
        start = clock()
        for _ in range(repeats):
            function()
        return (clock() - start) / repeats
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / repeats


class Race:
    """Rivals timed in turn, round after round, so that a change of the machine's pace meets all alike.

    A rival that needs more than `left_behind` times the quickest one's time keeps the time of its warm-up and
    runs no further: it is nobody's best. `stays` names the one that is timed in any case. Before each time it is timed, a
    rival runs once: it would pay for the memory that another one gave back to the system (0.8 s of a step's 2).
    """

    def __init__(
        self,
        rivals: Mapping[str, Function],
        device: str,
        budget: float,
        stays: str = "",
        left_behind: float = 4.0,
    ) -> None:
        self.device = device
        self.rivals = dict(rivals)
        first = {name: self._warm_up(function) for name, function in self.rivals.items()}
        quickest = min(first.values())
        self.names = [name for name in first if first[name] <= left_behind * quickest or name == stays]
        self.samples = {name: [] if name in self.names else [first[name]] for name in first}
        shortest = 2e-4 if device in CLOCKS else 1e-3
        self.repeats = {name: max(1, min(200, round(shortest / first[name]))) for name in self.names}
        one_round = sum((1 + self.repeats[name]) * first[name] for name in self.names)
        self.rounds = max(3, min(50, int(budget / one_round)))

    def _warm_up(self, function: Function) -> float:
        seconds(function, self.device)
        first = seconds(function, self.device)
        return first if first > 0.2 else min(seconds(function, self.device) for _ in range(3))

    def time(self, name: str) -> None:
        """Times one rival once, after a call that is not timed, and keeps the sample."""
        self.rivals[name]()
        self.samples[name].append(seconds(self.rivals[name], self.device, self.repeats[name]))

    def run(self) -> dict[str, float]:
        """All rounds, the order turned by one each time; the medians."""
        for round_ in range(self.rounds):
            turn = round_ % len(self.names)
            for name in self.names[turn:] + self.names[:turn]:
                self.time(name)
        return self.medians()

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(samples) for name, samples in self.samples.items()}

    def least(self) -> dict[str, float]:
        return {name: min(samples) for name, samples in self.samples.items()}

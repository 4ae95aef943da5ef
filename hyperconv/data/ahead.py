"""What the next steps need, made ready in the background while this one is taken."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")

STEPS, THREADS = 4, 2


class Ahead(Generic[Result]):
    """function(step), begun STEPS steps before it is asked for.

    function depends on the step alone, so steps may be asked for in any order. What it raises is raised where its step
    is asked for.
    """

    def __init__(self, function: Callable[[int], Result], end: int) -> None:
        """end: the step after the last."""
        self.function, self.end = function, end
        self.threads = ThreadPoolExecutor(THREADS, "ahead")
        self.begun: dict[int, Future[Result]] = {}

    def __call__(self, step: int) -> Result:
        wanted = range(step, min(step + STEPS + 1, max(self.end, step + 1)))
        for other in [begun for begun in self.begun if begun not in wanted]:
            self.begun.pop(other).cancel()
        for later in wanted:
            if later not in self.begun:
                self.begun[later] = self.threads.submit(self.function, later)
        return self.begun.pop(step).result()

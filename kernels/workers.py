"""Processes that judge the tuner's candidates side by side."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable


class Workers:
    """Processes that compile and check candidates side by side: what breaks one of them breaks no other.

    Compiled kernels reach the process that times them through Triton's cache on disk. Spawned at the first check,
    and anew after a candidate that did not return or brought its process's GPU context down.
    """

    def __init__(self, judge: Callable[[object, object], str | None], count: int) -> None:
        self.judge, self.count, self.pool = judge, count, None

    def stop(self) -> None:
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()
        self.pool = None

    def check(self, case: object, candidates: list, seconds: float) -> dict[object, str | None]:
        """The judge's verdicts; a candidate that is not through in time has none."""
        if self.pool is None:
            self.pool = multiprocessing.get_context("spawn").Pool(self.count)
        end = time.monotonic() + seconds
        answers = {tiles: self.pool.apply_async(self.judge, (case, tiles)) for tiles in candidates}
        verdicts = {}
        for tiles, answer in answers.items():
            try:
                verdicts[tiles] = answer.get(max(0.01, end - time.monotonic()))
            except multiprocessing.TimeoutError:
                continue
        if len(verdicts) < len(candidates) or any("CUDA error" in (wrong or "") for wrong in verdicts.values()):
            self.stop()
        return verdicts

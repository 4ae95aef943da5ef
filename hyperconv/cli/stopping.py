"""Asked to stop, by Ctrl-C or a scheduler's SIGTERM: training ends with the step it is in, and loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hyperconv.gan.training_loop import Progress, TrainingLoop


def until_stopped(trainer: TrainingLoop, steps: Iterator[Progress]) -> Iterator[Progress]:
    """The steps of a training. When asked to stop, write a checkpoint after the step and raise KeyboardInterrupt."""
    with _asked() as asked:
        for taken in steps:
            yield taken
            if asked:
                if not taken.saved:
                    trainer.save()
                raise KeyboardInterrupt


@contextmanager
def _asked() -> Iterator[list[int]]:
    """A list that the first signal to stop goes into; the second one raises KeyboardInterrupt at once."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    main = threading.current_thread() is threading.main_thread()  # where alone Python lets signals be handled
    numbers = [
        number for number in (signal.SIGINT, signal.SIGTERM) if main and signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

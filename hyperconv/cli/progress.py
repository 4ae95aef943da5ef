"""Progress of long work: bars with the time left on a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from hyperconv.gan.memory import gigabytes, peak_bytes
from hyperconv.gan.training_loop import Progress as Taken
from hyperconv.gan.training_loop import TrainingLoop


class Clock:
    """Time left, from the speed at the current scale and what finer scales cost more."""

    def __init__(self, trainer: TrainingLoop) -> None:
        self.trainer = trainer
        self._begin()

    def _begin(self) -> None:
        self.scale, self.first, self.started = self.trainer.scale, self.trainer.step, time.monotonic()
        self.done = self.trainer.progress

    def tick(self) -> tuple[float, float]:
        """After a step: seconds left (at this scale, in all)."""
        trainer = self.trainer
        if trainer.scale != self.scale or trainer.step == self.first:
            self._begin()
            return math.nan, math.nan
        spent = time.monotonic() - self.started
        here = spent / (trainer.step - self.first) * (trainer.iterations - trainer.step)
        return here, spent / (trainer.progress - self.done) * (1 - trainer.progress)


def show(trainer: TrainingLoop, steps: Iterator[Taken]) -> None:
    """Take every step of training, showing how it goes and when it will end."""
    clock = Clock(trainer)
    console = Console()
    (_show_bars if console.is_terminal else _show_lines)(console, trainer, clock, steps)


def _show_bars(console: Console, trainer: TrainingLoop, clock: Clock, steps: Iterator[Taken]) -> None:
    with bars(console) as progress:
        here = progress.add_task(trainer.title(trainer.scale), total=1)
        overall = progress.add_task("overall", total=1)
        error = ""
        for taken in steps:
            for remark in taken.remarks:
                console.print(f"[yellow]{escape(remark)}")
            error = _headline(trainer, taken) or error
            seconds_here, seconds = clock.tick()
            progress.update(
                here,
                description=trainer.title(taken.scale) + error + _memory(trainer),
                left=_left(seconds_here),
                total=trainer.iterations,
                completed=taken.step,
            )
            progress.update(overall, completed=trainer.progress, left=_left(seconds))


def _show_lines(console: Console, trainer: TrainingLoop, clock: Clock, steps: Iterator[Taken]) -> None:
    for taken in steps:
        _, seconds = clock.tick()
        for remark in taken.remarks:
            print(remark, file=sys.stderr)
        if taken.saved:
            print(
                f"{trainer.title(taken.scale)}  step {taken.step}/{trainer.iterations}"
                f"{_headline(trainer, taken)}  {_left(seconds)}",
                flush=True,
            )
        if taken.step == trainer.iterations:
            print(f"{trainer.title(taken.scale)}  memory{_memory(trainer)}", flush=True)


@contextmanager
def counted(title: str) -> Iterator:
    """Yield a callback (taken, all) that moves a bar on a terminal and is silent elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield None
        return
    with bars(console) as progress:
        task = progress.add_task(title, total=None)
        started = time.monotonic()

        def move(taken: int, all_steps: int) -> None:
            left = (time.monotonic() - started) / taken * (all_steps - taken)
            progress.update(task, completed=taken, total=all_steps, left=_left(left))

        yield move


def bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), LeftColumn(""), console=console
    )


class LeftColumn(TextColumn):
    """The time left, once there is an estimate."""

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("left", ""))


def _headline(trainer: TrainingLoop, taken: Taken) -> str:
    return f"  {trainer.headline} {taken.losses[trainer.headline]:.4f}" if taken.losses else ""


def _memory(trainer: TrainingLoop) -> str:
    """The most that this scale took of a GPU, or what the process has on a CPU."""
    peak = peak_bytes(trainer.device)
    return "  unknown" if peak is None else f"  {gigabytes(peak)}"


def _left(seconds: float) -> str:
    if math.isnan(seconds):
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"

"""Progress of long work: bars with the time left on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from hyperconv.gan.memory import gigabytes, peak_bytes
from hyperconv.gan.trainer import Progress as Taken
from hyperconv.gan.trainer import Trainer

BESIDE_IMAGES = 2048  # the work of embedding and optimizers, as pixels of image


class Clock:
    """Time left, from the speed at the current scale and what finer scales cost more."""

    def __init__(self, trainer: Trainer) -> None:
        self.iterations = [trainer.config.iterations_at(scale) for scale in range(trainer.config.scale_count)]
        areas = [sizes.double().prod(dim=1).mean().item() for sizes in trainer.collection.sizes]
        self.cost = [area + BESIDE_IMAGES for area in areas]  # of one step at each scale
        self.work = [cost * steps for cost, steps in zip(self.cost, self.iterations)]
        self._begin(trainer.scale, trainer.step)

    def _begin(self, scale: int, step: int) -> None:
        self.scale, self.first, self.started = scale, step, time.monotonic()

    def tick(self, scale: int, step: int) -> tuple[float, float]:
        """After a step: seconds left (at this scale, in all)."""
        if scale != self.scale:
            self._begin(scale, step - 1)
        per_step = (time.monotonic() - self.started) / (step - self.first)
        here = per_step * (self.iterations[scale] - step)
        return here, here + per_step / self.cost[scale] * sum(self.work[scale + 1 :])

    def done(self, scale: int, step: int) -> float:
        """Share of all the work that is done, 0 to 1."""
        return (sum(self.work[:scale]) + self.cost[scale] * step) / sum(self.work)


def show(trainer: Trainer, steps: Iterator[Taken]) -> None:
    """Take every step of training, showing how it goes and when it will end."""
    clock = Clock(trainer)
    console = Console()
    (_show_bars if console.is_terminal else _show_lines)(console, trainer, clock, steps)


def _show_bars(console: Console, trainer: Trainer, clock: Clock, steps: Iterator[Taken]) -> None:
    with bars(console) as progress:
        here = progress.add_task(_scale_title(trainer, trainer.scale), total=1)
        overall = progress.add_task("overall", total=1)
        error = ""
        for taken in steps:
            error = _reconstruction(taken) or error
            seconds_here, seconds = clock.tick(taken.scale, taken.step)
            progress.update(
                here,
                description=_scale_title(trainer, taken.scale) + error + _memory(trainer),
                left=_left(seconds_here),
                total=clock.iterations[taken.scale],
                completed=taken.step,
            )
            progress.update(overall, completed=clock.done(taken.scale, taken.step), left=_left(seconds))


def _show_lines(console: Console, trainer: Trainer, clock: Clock, steps: Iterator[Taken]) -> None:
    for taken in steps:
        _, seconds = clock.tick(taken.scale, taken.step)
        if taken.saved:
            print(
                f"{_scale_title(trainer, taken.scale)}  step {taken.step}/{clock.iterations[taken.scale]}"
                f"{_reconstruction(taken)}  {_left(seconds)}",
                flush=True,
            )
        if taken.step == clock.iterations[taken.scale]:
            print(f"{_scale_title(trainer, taken.scale)}  memory{_memory(trainer)}", flush=True)


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


def _reconstruction(taken: Taken) -> str:
    return f"  reconstruction {taken.losses['reconstruction']:.4f}" if taken.losses else ""


def _memory(trainer: Trainer) -> str:
    """The most that this scale took of a GPU, or what the process has on a CPU."""
    peak = peak_bytes(trainer.device)
    return "  unknown" if peak is None else f"  {gigabytes(peak)}"


def _scale_title(trainer: Trainer, scale: int) -> str:
    height, width = trainer.collection.sizes[scale].amax(dim=0).tolist()
    return f"scale {scale + 1}/{trainer.config.scale_count} ({max(height, width)} px)"


def _left(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"

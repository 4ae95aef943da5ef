"""The loop of systems that have one scale and learn from domains: steps, their log, checkpoints on the way."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.errors import TrainingDiverged
from hyperconv.gan import memory
from hyperconv.gan.ranks import ALONE
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import LOG_EVERY, Progress


class DomainTrainer(ABC):
    """Trains a GAN on domains and keeps its run folder, as `Trainer` does for pyramids.

    Step t draws everything random from (seed, t), so a resumed run takes the very steps of an uninterrupted one.
    A subclass builds its nets after this constructor, then calls `begin`.
    """

    headline, scale, ranks = "generator", 0, ALONE

    def __init__(self, run: Run, domains: Domains, device: torch.device | str, checkpoint_every: int | None) -> None:
        self.run, self.config, self.device = run, run.config, torch.device(device)
        self.domains = domains.to(self.device)
        self.checkpoint_every = checkpoint_every or max(50, self.iterations // 5)
        self.step = 0

    @abstractmethod
    def take_step(self) -> dict[str, Tensor]:
        """One step; the last losses by name, of any shape."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What the model is, by name."""

    @abstractmethod
    def moments(self) -> dict[str, Tensor]:
        """What the optimizers remember, by name."""

    @abstractmethod
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take what `tensors` and `moments` returned after step `self.step`. InputError where it does not fit."""

    def begin(self) -> None:
        """Start, or go on from the run's checkpoint."""
        if self.run.has("training_state"):
            tensors, where = self.run.load("training_state")
            self.step = where["step"]
            self.restore(tensors)
        self.run.forget_metrics_after(0, self.step)
        self.logged = self.step, time.perf_counter()

    @property
    def iterations(self) -> int:
        return self.config.iterations_at(0)

    @property
    def progress(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return self.step / self.iterations

    @property
    def finished(self) -> bool:
        return self.step == self.iterations

    def title(self, scale: int) -> str:
        return f"{len(self.domains)} domains ({self.config.image_size} px)"

    def train(self) -> Iterator[Progress]:
        """Take every step that is left, yielding after each; the last checkpoint is written before it returns."""
        while not self.finished:
            losses = self.take_step()
            self.step += 1
            logged = self.log(losses) if self.step % LOG_EVERY == 0 else None
            saved = self.finished or self.step % self.checkpoint_every == 0
            if saved:
                self.save()
            yield Progress(0, self.step, logged, saved, [])

    def log(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Write the mean losses, seconds per step since the last time and the memory in use; returns the losses."""
        values = {name: float(each.mean()) for name, each in losses.items()}
        if not all(map(math.isfinite, values.values())):
            raise self.diverged(str(values))
        (before, then), now = self.logged, time.perf_counter()
        self.logged = self.step, now
        seconds = (now - then) / max(1, self.step - before)
        self.run.log({"scale": 0, "step": self.step, "seconds": round(seconds, 5),
                      "memory": memory.peak_bytes(self.device), **values})
        return values

    def save(self) -> None:
        """Write a checkpoint, unless the parameters are no longer finite."""
        tensors, where = self.tensors(), {"scale": 0, "step": self.step}
        bad = [name for name, value in tensors.items() if not value.isfinite().all()]
        if bad:
            raise self.diverged(f"{bad[0]} is not finite")
        self.run.save("training_state", {**tensors, **self.moments()}, where)
        self.run.save("model", tensors, where)

    def diverged(self, what: str) -> TrainingDiverged:
        return TrainingDiverged(f"training diverged at step {self.step} ({what}): the last good checkpoint in "
                                f"{self.run.path} is kept; continue it with --resume and a lower --learning-rate")

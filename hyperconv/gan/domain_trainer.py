"""Training of systems that have one scale and learn from domains."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.gan.run import Run
from hyperconv.gan.training_loop import TrainingLoop


class DomainTrainer(TrainingLoop):
    """Trains a GAN on domains.

    Step t draws everything random from (seed, t), so a resumed run takes the very steps of an uninterrupted one.
    A subclass builds its nets after this constructor, then calls `begin`.
    """

    headline = "generator"

    def __init__(self, run: Run, domains: Domains, device: torch.device | str, checkpoint_every: int | None) -> None:
        super().__init__(run, device, checkpoint_every)
        self.domains = domains.to(self.device)

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
        self.start_clock()

    @property
    def progress(self) -> float:
        return self.step / self.iterations

    @property
    def finished(self) -> bool:
        return self.step == self.iterations

    def title(self, scale: int) -> str:
        return f"{len(self.domains)} domains ({self.config.image_size} px)"

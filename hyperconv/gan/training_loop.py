"""The loop that all trainings share: steps, their log, checkpoints on the way, and what to say when one diverged."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconv.errors import TrainingDiverged
from hyperconv.gan import memory
from hyperconv.gan.divergence import DIVERGED
from hyperconv.gan.ranks import ALONE, Ranks
from hyperconv.gan.run import Run

LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step. `losses` every LOG_EVERY steps; `saved` after a checkpoint.

    `remarks`: photos whose own training diverged since the last step, and what became of them.
    """

    scale: int
    step: int
    losses: dict[str, float] | None
    saved: bool
    remarks: list[str]


class TrainingLoop(ABC):
    """Takes the steps that are left and keeps the run folder, where rank 0 of several processes writes.

    A subclass sets `scale` and `step` to where the run stands, and calls `start_clock`, before the first step.
    """

    headline: str  # the loss that says most

    def __init__(
        self, run: Run, device: torch.device | str, checkpoint_every: int | None, ranks: Ranks = ALONE
    ) -> None:
        self.run, self.config, self.device, self.ranks = run, run.config, torch.device(device), ranks
        self.checkpoint_every = checkpoint_every or max(50, max(self.config.iterations) // 5)
        self.scale = self.step = 0

    @abstractmethod
    def take_step(self) -> dict[str, Tensor]:
        """One step of the scale in training; the losses by name, of any shape."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What the model is, by name."""

    @abstractmethod
    def moments(self) -> dict[str, Tensor]:
        """What going on needs beside it, by name: above all what the optimizers remember."""

    @property
    @abstractmethod
    def progress(self) -> float:
        """Share of the work that is done, 0 to 1."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the last step of the last scale is taken."""

    @abstractmethod
    def title(self, scale: int) -> str:
        """What is in training at a scale, in a few words."""

    @property
    def iterations(self) -> int:
        """Steps of the scale in training."""
        return self.config.iterations_at(self.scale)

    def train(self) -> Iterator[Progress]:
        """Take every step that is left, yielding after each; the last checkpoint is written before it returns.

        TrainingDiverged where a loss or a parameter is no longer finite, or a loss is beyond DIVERGED.
        """
        self.mend_model()
        while not self.finished:
            losses = self.advance()
            logged, remarks = self.log(losses) if self.step % LOG_EVERY == 0 else (None, [])
            saved = self.step == self.iterations or self.step % self.checkpoint_every == 0
            if saved:
                self.save()
            yield Progress(self.scale, self.step, logged, saved, remarks)

    def advance(self) -> dict[str, Tensor]:
        """Take the next step; its losses."""
        losses = self.take_step()
        self.step += 1
        return losses

    def log(self, losses: dict[str, Tensor]) -> tuple[dict[str, float], list[str]]:
        """Write the mean losses, seconds per step since the last time and the memory in use.

        Returns the means, and a remark for each photo that diverged where every photo learns by itself.
        """
        means, remarks = self.summary(losses)
        lost = [f"{name} is {value:g}" for name, value in means.items() if not abs(value) < DIVERGED]
        if lost:
            raise self.diverged(", ".join(lost))
        before, then = self.logged
        self.start_clock()
        seconds = (self.logged[1] - then) / max(1, self.step - before)
        if self.ranks.leads:
            self.run.log(
                {
                    "scale": self.scale,
                    "step": self.step,
                    "seconds": round(seconds, 5),
                    "memory": memory.peak_bytes(self.device),
                    **means,
                    **({"diverged": remarks} if remarks else {}),
                }
            )
        return means, [f"scale {self.scale + 1}, step {self.step}: {remark}" for remark in remarks]

    def start_clock(self) -> None:
        """Seconds per step are counted from here."""
        self.logged = self.step, time.perf_counter()

    def summary(self, losses: dict[str, Tensor]) -> tuple[dict[str, float], list[str]]:
        """The mean of each loss, and a remark for each photo that diverged by itself."""
        return {name: float(each.mean()) for name, each in losses.items()}, []

    def save(self) -> None:
        """Write a checkpoint, unless the parameters are no longer finite."""
        tensors = self.tensors()
        bad = [name for name, value in tensors.items() if not value.isfinite().all()]
        if bad:
            raise self.diverged(f"{bad[0]} is not finite")
        moments, where = self.moments(), {"scale": self.scale, "step": self.step}
        if self.ranks.leads:
            self.run.save("training_state", {**tensors, **moments}, where)
            self.run.save("model", tensors, where)

    def mend_model(self) -> None:
        """Write the model anew where it is not the checkpoint's: damaged, or older as a kill came between the two."""
        where = {"scale": self.scale, "step": self.step}
        if self.ranks.leads and self.run.has("training_state") and self.run.whole("model") != where:
            self.run.save("model", self.tensors(), where)

    def diverged(self, what: str) -> TrainingDiverged:
        """The error to raise: where and how it happened, and how to go on."""
        saved = self.run.has("training_state")
        go_on = "go on from the last good checkpoint" if saved else "nothing was saved yet, start again"
        out = shlex.quote(str(self.run.path))
        return TrainingDiverged(
            f"training diverged at scale {self.scale + 1}, step {self.step} ({what}): {go_on} with "
            f"--resume --out {out} and a --learning-rate lower than {self.config.learning_rate:g}"
        )

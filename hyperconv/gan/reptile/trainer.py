"""The outer loop: domains adapt side by side, the generator learns from what they became, the rest follows them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.errors import InputError, TrainingDiverged
from hyperconv.gan import memory
from hyperconv.gan.noise import generator as seeded
from hyperconv.gan.ranks import ALONE
from hyperconv.gan.reptile.draws import Draws, choose_tasks
from hyperconv.gan.reptile.system import ReptileGAN
from hyperconv.gan.reptile.tasks import Tasks
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import LOG_EVERY, Progress
from hyperconv.nn.layout import WeightSet

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of Adam


class ReptileTrainer:
    """Trains a Reptile-GAN on domains and keeps its run folder, as `Trainer` does for pyramids; it has one scale.

    Step t draws everything random from (seed, t), so a resumed run takes the very steps of an uninterrupted one.
    """

    headline, scale, ranks = "generator", 0, ALONE

    def __init__(self, run: Run, domains: Domains, device: torch.device | str = "cpu", *,
                 checkpoint_every: int | None = None) -> None:
        self.run, self.config, self.device = run, run.config, torch.device(device)
        self.domains = domains.to(self.device)
        self.checkpoint_every = checkpoint_every or max(50, self.iterations // 5)
        self.gan = ReptileGAN(self.config, domains.channels, self.device)
        self.generator = self.gan.weights["generator"][None].requires_grad_()
        self.adam = torch.optim.Adam([self.generator], self.config.learning_rate, self.config.betas, fused=True)
        self.step = 0
        if run.has("training_state"):
            tensors, where = run.load("training_state")
            load_gan(run, self.gan, tensors)
            self.step = where["step"]
            self.adam.load_state_dict(_with_moments(self.adam.state_dict(), tensors))
        run.forget_metrics_after(0, self.step)
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

    def take_step(self) -> dict[str, Tensor]:
        """One step of the outer loop; the last losses of each task (B,)."""
        config = self.config
        chosen = choose_tasks(len(self.domains), config.tasks, seeded("cpu", config.seed, "tasks", self.step))
        draws = Draws(self.domains, config, chosen.to(self.device), "reptile", self.step)
        tasks = Tasks(self.gan, config.tasks)
        for _ in range(config.inner_steps):
            losses = tasks.adapt(draws.inner())
        if config.generator == "outer step":
            shared = WeightSet(self.gan.nets["generator"].layout, self.generator)
            (self.generator.grad,) = torch.autograd.grad(tasks.outer_loss(draws.next(), shared), self.generator)
            self.adam.step()
        tasks.pull(config.meta_rate * (1 - self.step / self.iterations))
        return losses

    def adapted(self, chosen: Tensor) -> tuple[Tasks, Tensor]:
        """Copies of the GAN adapted to some of its domains (B,), and images of these (B * batch_size, C, S, S)."""
        draws = Draws(self.domains, self.config, chosen.to(self.device), "adapted", self.step)
        return adapt(self.gan, draws, self.config.inner_steps), draws.next().real

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
        tensors, where = self.gan.tensors(), {"scale": 0, "step": self.step}
        bad = [name for name, value in tensors.items() if not value.isfinite().all()]
        if bad:
            raise self.diverged(f"{bad[0]} is not finite")
        moments = {f"generator_optimizer.{key}": value for key, value in self.adam.state[self.generator].items()}
        self.run.save("training_state", {**tensors, **moments}, where)
        self.run.save("model", tensors, where)

    def diverged(self, what: str) -> TrainingDiverged:
        return TrainingDiverged(f"training diverged at step {self.step} ({what}): the last good checkpoint in "
                                f"{self.run.path} is kept; continue it with --resume and a lower --learning-rate")


def adapt(gan: ReptileGAN, draws: Draws, steps: int) -> Tasks:
    """Copies of a GAN after `steps` inner steps on some domains; the GAN is not changed."""
    tasks = Tasks(gan, len(draws.tasks))
    for _ in range(steps):
        tasks.adapt(draws.inner())
    return tasks


def load_gan(run: Run, gan: ReptileGAN, tensors: dict[str, Tensor]) -> None:
    """Fill `gan` from a run's file; InputError where they do not fit."""
    try:
        gan.load(tensors)
    except InputError as error:
        raise InputError(f"the checkpoint in {run.path} does not fit config.json beside it: {error}") from error


def _with_moments(state: dict, tensors: dict[str, Tensor]) -> dict:
    """An optimizer's state_dict with the moments of its parameter as saved; none were, if it has not moved yet."""
    saved = {key: tensors[f"generator_optimizer.{key}"] for key in MOMENTS if f"generator_optimizer.{key}" in tensors}
    return {**state, "state": {0: saved} if saved else {}}

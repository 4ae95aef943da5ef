"""The outer loop: domains adapt side by side, the generator learns from what they became, the rest follows them."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.gan.domain_trainer import DomainTrainer
from hyperconv.gan.noise import seeded
from hyperconv.gan.reptile.draws import Draws, choose_tasks
from hyperconv.gan.reptile.system import ReptileGAN
from hyperconv.gan.reptile.tasks import Tasks
from hyperconv.gan.run import Run, fill
from hyperconv.nn.layout import WeightSet

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of Adam


class ReptileTrainer(DomainTrainer):
    """Trains a Reptile-GAN."""

    def __init__(
        self, run: Run, domains: Domains, device: torch.device | str = "cpu", *, checkpoint_every: int | None = None
    ) -> None:
        super().__init__(run, domains, device, checkpoint_every)
        self.gan = ReptileGAN(self.config, domains.channels, self.device)
        self.generator = self.gan.weights["generator"][None].requires_grad_()
        self.adam = torch.optim.Adam([self.generator], self.config.learning_rate, self.config.betas, fused=True)
        self.begin()

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

    def tensors(self) -> dict[str, Tensor]:
        return self.gan.tensors()

    def moments(self) -> dict[str, Tensor]:
        return {f"generator_optimizer.{key}": value for key, value in self.adam.state[self.generator].items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        fill(self.run, self.gan.tensors(), tensors)
        self.adam.load_state_dict(_with_moments(self.adam.state_dict(), tensors))


def adapt(gan: ReptileGAN, draws: Draws, steps: int) -> Tasks:
    """Copies of a GAN after `steps` inner steps on some domains; the GAN is not changed."""
    tasks = Tasks(gan, len(draws.tasks))
    for _ in range(steps):
        tasks.adapt(draws.inner())
    return tasks


def _with_moments(state: dict, tensors: dict[str, Tensor]) -> dict:
    """An optimizer's state_dict with the moments of its parameter as saved; none were, if it has not moved yet."""
    saved = {key: tensors[f"generator_optimizer.{key}"] for key in MOMENTS if f"generator_optimizer.{key}" in tensors}
    return {**state, "state": {0: saved} if saved else {}}

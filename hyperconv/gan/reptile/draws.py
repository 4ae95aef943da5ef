"""The chance of a Reptile step: which domains adapt, on which of their images, with which noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.reptile.presets import ReptileConfig


class Draw(NamedTuple):
    """What one update of the critics reads: B tasks, n images of each, m of other domains; task after task."""

    real: Tensor  # (B * n, C, S, S) in [-1, 1]
    anti: Tensor  # (B * m, C, S, S)
    noise: Tensor  # (B * n, latent), standard normal
    alpha: Tensor  # (2, B * n, 1, 1, 1), uniform in 0..1

    def of_task(self, task: int, tasks: int) -> Draw:
        """One task's part."""
        real, anti, noise = (values.unflatten(0, (tasks, -1))[task] for values in self[:3])
        return Draw(real, anti, noise, self.alpha.unflatten(1, (tasks, -1))[:, task])


class Draws:
    """Everything random about the adaptation of some tasks, in order, from (seed, purpose) alone.

    Images are drawn with replacement. tasks: the domains (B,) that adapt.
    """

    def __init__(self, domains: Domains, config: ReptileConfig, tasks: Tensor, *purpose: int | str) -> None:
        self.domains, self.config, self.tasks = domains, config, tasks
        self.source = seeded(domains.device, config.seed, *purpose)

    def next(self) -> Draw:
        """What the next update reads, B * batch_size samples."""
        config, tasks = self.config, len(self.tasks)
        samples = tasks * config.batch_size
        return Draw(
            real=self.domains.draw(self.tasks, config.batch_size, self.source),
            anti=self.domains.draw_others(self.tasks, config.anti_batch_size, self.source),
            noise=white((samples, config.latent), self.source),
            alpha=torch.rand(2, samples, 1, 1, 1, generator=self.source, device=self.source.device),
        )

    def inner(self) -> list[Draw]:
        """One draw for each update of the critics in an inner step."""
        return [self.next() for _ in range(self.config.critic_steps)]


def choose_tasks(domains: int, tasks: int, source: torch.Generator) -> Tensor:
    """Domains (tasks,) at random, each as likely as any; none twice while there are others left."""
    rounds = -(-tasks // domains)
    return torch.cat([torch.randperm(domains, generator=source) for _ in range(rounds)])[:tasks]

"""What the players of a Reptile-GAN want: losses of every task, (tasks,), each a mean over its own samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.gan.reptile.draws import Draw
from hyperconv.gan.reptile.presets import ReptileConfig

Scores = tuple[Tensor, Tensor]  # (N,) of the adversarial and of the domain head
Critic = Callable[[Tensor], Scores]


def critic_loss(config: ReptileConfig, critic: Critic, draw: Draw, fake: Tensor, tasks: int) -> Tensor:
    """Real against fake images in one head, the domain's against those of other domains in the other.

    'wgan-gp' adds two gradient penalties, per sample (Gulrajani et al. 2017): between real images and fake ones for the
    one head, and images of other domains for the other.
    """
    (real_score, real_domain), (fake_score, _), (_, anti_domain) = critic(draw.real), critic(fake), critic(draw.anti)
    if config.objective == "dcgan":
        wanted = F.softplus(-real_score) + F.softplus(-real_domain) + F.softplus(fake_score)
        return of_each(wanted, tasks) + of_each(F.softplus(anti_domain), tasks)
    apart = fake_score - real_score + anti_domain - real_domain
    penalties = sum(
        penalty(critic, head, torch.lerp(other, draw.real, draw.alpha[head]))
        for head, other in enumerate((fake, draw.anti))
    )
    return of_each(apart + config.penalty_weight * penalties, tasks)


def generator_loss(config: ReptileConfig, scores: Scores, tasks: int) -> Tensor:
    """Images that both heads take for real ones of the domain."""
    if config.objective == "dcgan":
        return of_each(F.softplus(-scores[0]) + F.softplus(-scores[1]), tasks)
    return of_each(-scores[0] - scores[1], tasks)


def penalty(critic: Critic, head: int, images: Tensor) -> Tensor:
    """(|gradient of the head's score by the image| - 1)^2 of every image, (N,)."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images)[head].sum(), images, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square()


def of_each(values: Tensor, tasks: int) -> Tensor:
    """(N,) -> means over the samples of each task, (tasks,)."""
    return values.unflatten(0, (tasks, -1)).mean(1)

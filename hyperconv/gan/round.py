"""One round of the game: the gradients of both players at the newest scale, from one set of generated weights each."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.data import canvas
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.noise import white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.nn.layout import WeightSet


def pair(first: Tensor, second: Tensor) -> Tensor:
    """Two batches of B rows as one of N = 2 B on B weight sets: first, second, first, second, ..."""
    return torch.stack((first, second), dim=1).flatten(0, 1)


def unpair(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.unflatten(0, (-1, 2)).unbind(1)


def play(model: PhotoModel, critic: Discriminator, critic_weights: WeightSet, photos: Tensor,
         source: torch.Generator, *, penalty_weight: float, penalty_norm: str,
         reconstruction_weight: float) -> dict[str, Tensor]:
    """Backpropagate both players' losses on photos (B, C, H, W) of the model's newest scale; returns the losses.

    Critic: -E D(photo) + E D(fake) + penalty_weight GP. Generator: -E D(fake) + reconstruction_weight MSE. Both
    gradients are taken at the same point, so one critic pass over photo and fake serves both: the fake's gradient
    in the critic's loss is, negated, the generator's.
    """
    scale = model.scales - 1
    sizes = model.sizes[scale]

    def noise_for_first(shape: tuple[int, ...]) -> Tensor:
        drawn = white((shape[0] // 2, *shape[1:]), source)
        return pair(drawn, torch.zeros_like(drawn))

    with torch.no_grad():
        below = model.climb(pair(model.z(1, source), model.z_fixed()), noise_for_first, stop=scale)
    fake, reconstruction = unpair(model.apply(scale, below, noise_for_first))

    shown = fake.detach().requires_grad_()
    scores = critic.score(pair(photos, shown), pair(sizes, sizes), critic_weights).view(-1, 2)
    alpha = torch.rand((), generator=source, device=source.device)
    penalty = critic.gradient_penalty(photos, shown, alpha, sizes, critic_weights, penalty_norm)
    critic_loss = (scores[:, 1] - scores[:, 0]).mean() + penalty_weight * penalty
    critic_loss.backward()

    error = canvas.mean((reconstruction - photos).square(), sizes).mean()
    torch.autograd.backward([fake, reconstruction_weight * error], [-shown.grad, None])
    return {"critic": critic_loss.detach(), "penalty": penalty.detach(), "score_photo": scores[:, 0].mean().detach(),
            "score_fake": scores[:, 1].mean().detach(), "reconstruction": error.detach()}

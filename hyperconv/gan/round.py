"""One round of the game: the gradients of both players at the newest scale, from one set of generated weights each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.profiler import record_function

from hyperconv.data import canvas
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import RoundNoise
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.nn.layout import WeightSet

LOSSES = ("critic", "penalty", "score_photo", "score_fake", "reconstruction")


def pair(first: Tensor, second: Tensor) -> Tensor:
    """Two batches of B rows as one of N = 2 B on B weight sets: first, second, first, second, ..."""
    return torch.stack((first, second), dim=1).flatten(0, 1)


def unpair(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.unflatten(0, (-1, 2)).unbind(1)


def play(model: PhotoModel, critic: Discriminator, critic_weights: WeightSet, photos: Tensor, noise: RoundNoise, *,
         penalty_weight: float, penalty_norm: str, reconstruction_weight: float, share: float = 1.0) -> Tensor:
    """Backpropagate both players' losses on photos (B, C, H, W) of the model's newest scale; returns `LOSSES`.

    Critic: -E D(photo) + E D(fake) + penalty_weight GP. Generator: -E D(fake) + reconstruction_weight MSE. Both
    gradients are taken at the same point, so one critic pass over photo and fake serves both: the fake's gradient
    in the critic's loss is, negated, the generator's. share: what the gradients are multiplied with, where these
    photos are a part of a batch.
    """
    scale = model.scales - 1
    sizes = model.sizes[scale]
    fake, reconstruction = _draw(model, noise)
    shown = fake.detach().requires_grad_()

    with record_function("penalty"):  # first, and by itself: its activations are gone before the others come
        penalty = critic.gradient_penalty(photos, shown, noise.alpha, sizes, critic_weights, penalty_norm)
        (share * penalty_weight * penalty).backward()

    scores = critic.score(pair(photos, shown), pair(sizes, sizes), critic_weights).view(-1, 2)
    difference = (scores[:, 1] - scores[:, 0]).mean()
    (share * difference).backward()

    error = canvas.mean((reconstruction - photos).square(), sizes).mean()
    torch.autograd.backward([fake, share * reconstruction_weight * error], [-shown.grad, None])
    with torch.no_grad():
        of_photo, of_fake = scores.mean(dim=0).unbind()
        return torch.stack([difference + penalty_weight * penalty, penalty, of_photo, of_fake, error])


def _draw(model: PhotoModel, noise: RoundNoise) -> tuple[Tensor, Tensor]:
    """Random images and reconstructions of the newest scale, drawn together; finished scales keep no activations."""
    above = iter(noise.above)

    def noise_for_first(shape: tuple[int, ...]) -> Tensor:
        drawn = next(above)
        return pair(drawn, torch.zeros_like(drawn))

    newest = model.scales - 1
    with torch.no_grad():
        below = model.climb(pair(model.coarsest(noise.z), model.z_fixed()), noise_for_first, stop=newest)
    return unpair(model.apply(newest, below, noise_for_first))

"""The game of one step: what both players lose on some photos at the newest scale, and the gradients of that.

`each` (B,) is what the photos' losses are multiplied with: 1 / B where photos share parameters and the loss is a mean, 1
where every photo has parameters of its own, which then learn as if they were alone, 0 for one that is to learn nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.profiler import record_function

from hyperconv.data import canvas
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import RoundNoise
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.nn.layout import WeightSet

LOSSES = ("critic", "penalty", "score_photo", "score_fake", "reconstruction")


class Rules(NamedTuple):
    """How losses are weighed: lambda of the gradient penalty and its norm ('pixel' or 'sample'), of the MSE."""

    penalty_weight: float
    penalty_norm: str
    reconstruction_weight: float


def pair(first: Tensor, second: Tensor) -> Tensor:
    """Two batches of B rows as one of N = 2 B on B weight sets: first, second, first, second, ..."""
    return torch.stack((first, second), dim=1).flatten(0, 1)


def unpair(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The two batches of B rows that `pair` put together."""
    return rows.unflatten(0, (-1, 2)).unbind(1)


def play_together(
    model: PhotoModel,
    critic: Discriminator,
    critic_weights: WeightSet,
    photos: Tensor,
    noise: RoundNoise,
    rules: Rules,
    each: Tensor,
) -> Tensor:
    """Backpropagate both players' losses on photos (B, C, H, W) of the model's newest scale; returns `LOSSES` (5, B).

    Critic: -E D(photo) + E D(fake) + penalty_weight GP. Generator: -E D(fake) + reconstruction_weight MSE. Both
    gradients are taken at the same point, so one critic pass over photo and fake serves both: the fake's gradient
    in the critic's loss is, negated, the generator's.
    """
    fake, reconstruction = draw(model, noise, model.scales - 1)
    shown = fake.detach().requires_grad_()
    losses = play_critic(critic, critic_weights, photos, shown, model.sizes[-1], noise.alpha[0], rules, each)
    error = canvas.mean((reconstruction - photos).square(), model.sizes[-1])
    regret = (each * rules.reconstruction_weight * error).sum()
    torch.autograd.backward([fake, regret], [-shown.grad, None])
    return torch.cat([losses, error.detach()[None]])


def play_critic(
    critic: Discriminator,
    weights: WeightSet,
    photos: Tensor,
    fakes: Tensor,
    sizes: Tensor,
    alpha: Tensor,
    rules: Rules,
    each: Tensor,
) -> Tensor:
    """Backpropagate the critic's losses to its weights, and to the fakes if they want that; its `LOSSES` (4, B)."""
    with record_function("penalty"):  # first, and by itself: its activations are gone before the others come
        penalty = critic.gradient_penalty(photos, fakes, alpha, sizes, weights, rules.penalty_norm)
        (each * rules.penalty_weight * penalty).sum().backward()
    scores = critic.score(pair(photos, fakes), pair(sizes, sizes), weights).view(-1, 2)
    difference = scores[:, 1] - scores[:, 0]
    (each * difference).sum().backward()
    with torch.no_grad():
        return torch.stack([difference + rules.penalty_weight * penalty, penalty, *scores.unbind(1)])


def play_generator(
    critic: Discriminator,
    weights: WeightSet,
    photos: Tensor,
    fake: Tensor,
    reconstruction: Tensor,
    sizes: Tensor,
    rules: Rules,
    each: Tensor,
) -> Tensor:
    """Backpropagate the generator's losses through what it drew; the reconstruction errors (B,)."""
    error = canvas.mean((reconstruction - photos).square(), sizes)
    scores = critic.score(fake, sizes, weights.detach())
    (each * (rules.reconstruction_weight * error - scores)).sum().backward()
    return error.detach()


def draw(model: PhotoModel, noise: RoundNoise, learns_from: int) -> tuple[Tensor, Tensor]:
    """Random images and reconstructions (B, C, H, W) of the newest scale, drawn together.

    Scales below `learns_from` are finished: they keep no activations.
    """

    def both(shape: tuple[int, ...], scale: int) -> Tensor:
        drawn = noise.above[scale - 1][:, :, : shape[2], : shape[3]]
        fixed = model.fixed_noise(shape, scale)
        return pair(drawn, torch.zeros_like(drawn) if fixed is None else fixed)

    height, width = model.extent(0)
    first = pair(noise.z[:, :, :height, :width], model.z_fixed())
    if learns_from == 0:
        carried = model.begin(first)
    else:
        with torch.no_grad():
            carried = model.climb(model.begin(first), both, stop=learns_from)
    return unpair(model.images(model.climb(carried, both)))


@torch.no_grad()
def draw_fakes(model: PhotoModel, noise: RoundNoise) -> Tensor:
    """Random images (B, C, H, W) of the newest scale, as `draw` has them, for critics alone."""
    height, width = model.extent(0)
    carried = model.begin(noise.z[:, :, :height, :width])
    return model.images(model.climb(carried, lambda shape, scale: noise.above[scale - 1][:, :, : shape[2], : shape[3]]))

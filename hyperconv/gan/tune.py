"""A few steps of ordinary training on one photo, started from what its hypernetwork gave it: weights or embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from hyperconv.data import canvas
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import draw_noise
from hyperconv.gan.noise import seeded
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.presets import Config
from hyperconv.gan.round import Rules, play_together
from hyperconv.nn.layout import WeightSet
from hyperconv.nn.sources import FreeWeights

LEARNING_RATE = 5e-4  # of free weights; what single-image GANs train with
CONTEXT_RATE = 1e-2  # of a context, over the root of its mean square


def tune(
    model: PhotoModel,
    critic: Discriminator,
    critic_weights: WeightSet,
    photos: Sequence[Tensor],
    steps: int,
    config: Config,
) -> Iterator[tuple[int, PhotoModel]]:
    """Train the photos' weight sets by themselves: `steps` steps per scale, coarse to fine.

    photos: one canvas (B, C, H, W) per scale. The critic knows the finest scale only, so the scales below it learn to
    reconstruct and the finest one plays the whole game. Yields (steps taken so far, model) after each step; the given
    model is left alone. The noise amplitudes stay: measure them anew on the result (`PhotoModel.with_amplitudes`).
    """
    sources = [FreeWeights.from_weight_set(weights) for weights in model.weights]
    critic_source = FreeWeights.from_weight_set(critic_weights)
    finest = model.scales - 1
    rules = Rules(config.penalty_weight, config.penalty_norm, config.reconstruction_weight)
    each = photos[0].new_full((model.batch,), 1 / model.batch)

    def current(stop: int) -> PhotoModel:
        weights = [source.weights().detach() for source in sources[: stop - 1]] + [sources[stop - 1].weights()]
        return replace(model, weights=weights)

    for scale, source in enumerate(sources):
        parameters = [source.flat] + ([critic_source.flat] if scale == finest else [])
        optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, betas=config.betas, fused=True)
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            tuned = current(scale + 1)
            if scale == finest:
                source = seeded(photos[scale].device, config.seed, "tune", step)
                noise = draw_noise([model.extent(s) for s in range(scale + 1)], model.batch, model.generator, source)
                play_together(tuned, critic, critic_source.weights(), photos[scale], noise, rules, each)
            else:
                error = (tuned.reconstruct() - photos[scale]).square()
                canvas.mean(error, model.sizes[scale]).sum().backward()
            optimizer.step()
            yield scale * steps + step + 1, replace(model, weights=[s.weights().detach() for s in sources])


def tune_context(
    context: Tensor,
    models: Callable[[Tensor], PhotoModel],
    critic: Discriminator,
    critic_weights: WeightSet,
    photos: Sequence[Tensor],
    steps: int,
    config: Config,
) -> Iterator[tuple[int, PhotoModel]]:
    """Train what the weights of one photo are generated from: `steps` steps of all scales together.

    context (1, ...); models: the model that a context gives, with a graph to it. Every scale learns to reconstruct and
    the finest one plays the whole game, against a critic with weights of its own. Yields as `tune`.
    """
    context, critic_source = nn.Parameter(context.detach().clone()), FreeWeights.from_weight_set(critic_weights)
    rate = CONTEXT_RATE * context.detach().square().mean().sqrt().item()
    optimizer = torch.optim.Adam(
        [{"params": [context], "lr": rate}, {"params": [critic_source.flat]}],
        lr=LEARNING_RATE,
        betas=config.betas,
        fused=True,
    )
    rules = Rules(config.penalty_weight, config.penalty_norm, config.reconstruction_weight)
    each = photos[0].new_ones(1)
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        model = models(context)
        errors = [
            canvas.mean((model.reconstruct(stop=scale + 1) - photos[scale]).square(), model.sizes[scale])
            for scale in range(model.scales - 1)
        ]
        if errors:
            (rules.reconstruction_weight * torch.stack(errors).sum()).backward()
        source = seeded(photos[-1].device, config.seed, "tune", step)
        noise = draw_noise([model.extent(scale) for scale in range(model.scales)], 1, model.generator, source)
        play_together(models(context), critic, critic_source.weights(), photos[-1], noise, rules, each)
        optimizer.step()
        with torch.no_grad():
            yield step + 1, models(context)

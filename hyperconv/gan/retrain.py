"""One scale of finished models trained on for a picture from outside: ConSinGAN's composites, SinGAN's paintings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import RoundNoise, draw_noise
from hyperconv.gan.noise import generator as seeded
from hyperconv.gan.photo_model import Carried, PhotoModel
from hyperconv.gan.player import Group, Player
from hyperconv.gan.presets import Config
from hyperconv.gan.round import Rules, draw, pair, play_critic, play_generator, unpair
from hyperconv.nn.layout import WeightSet
from hyperconv.nn.sources import FreeWeights

Drawn = tuple[Tensor, Tensor]  # random images and reconstructions of a scale


def fine_tune(model: PhotoModel, critic: Discriminator, critic_weights: WeightSet, photos: Tensor, pictures: Tensor,
              steps: int, config: Config) -> Iterator[tuple[int, PhotoModel]]:
    """Train the newest scale and the tail on for `steps` steps, with pictures in place of the coarsest noise.

    Hinz et al. (2021), section 4: a ConSinGAN's last stage gets used to one composite. photos: canvas (B, C, H, W) of
    the finest scale, still what is reconstructed; pictures (B, C, h, w): the composites at the coarsest. Yields (steps
    taken so far, model) after each step; the given model is left alone.
    """
    def with_pictures(current: PhotoModel, noise: RoundNoise) -> Drawn:
        return draw(current, noise._replace(z=pictures), model.scales - 1)

    yield from _train(model, model.scales - 1, critic, critic_weights, photos, with_pictures, steps, config)


def repaint(model: PhotoModel, scale: int, critic: Discriminator, critic_weights: WeightSet, photos: Tensor,
            few_colours: Callable[[Tensor], Tensor], steps: int, config: Config) -> Iterator[tuple[int, PhotoModel]]:
    """Train one scale for `steps` steps to make photos of pictures in few colours.

    Shaham et al. (2019), section 4: the scale that a painting enters at sees what comes from below as `few_colours`
    (N, C, h, w) leaves it, random and reconstructed alike. photos: canvas (B, C, H, W) of the scale. Only for models
    that carry images. Yields (steps taken so far, model) after each step; the given model is left alone.
    """
    def from_few_colours(current: PhotoModel, noise: RoundNoise) -> Drawn:
        with torch.no_grad():
            random = current.climb(current.begin(noise.z), lambda shape, at: noise.above[at - 1], stop=scale)
            below = few_colours(pair(random.values, current.climb_fixed(stop=scale).values))
        both = Carried(below, current.grid(scale - 1, len(below)), scale - 1)
        above = noise.above[scale - 1]
        return unpair(current.next(both, lambda shape, at: pair(above, torch.zeros_like(above))).values)

    yield from _train(model, scale, critic, critic_weights, photos, from_few_colours, steps, config)


def _train(model: PhotoModel, scale: int, critic: Discriminator, critic_weights: WeightSet, photos: Tensor,
           drawing: Callable[[PhotoModel, RoundNoise], Drawn], steps: int, config: Config
           ) -> Iterator[tuple[int, PhotoModel]]:
    """The game at one scale: the critics' steps, then the generators' along one gradient, as `config` counts them."""
    weights = model.weights[scale], *(() if model.tail is None else (model.tail,))
    sources, judge = [FreeWeights.from_weight_set(each) for each in weights], FreeWeights.from_weight_set(critic_weights)
    generator = Player("generator", [Group([source.flat for source in sources])], config)
    discriminator = Player("discriminator", [Group([judge.flat])], config)
    rules = Rules(config.penalty_weight, config.penalty_norm, config.reconstruction_weight)
    each, rate = photos.new_ones(model.batch), photos.new_tensor(config.learning_rate)
    sizes, extents = model.sizes[scale], [model.extent(level) for level in range(scale + 1)]
    for step in range(steps):
        source = seeded(photos.device, config.seed, "retrain", step)
        noise = draw_noise(extents, model.batch, model.generator, source, config.critic_steps)
        fake, reconstruction = drawing(_with(model, scale, [own.weights() for own in sources]), noise)
        for alpha in noise.alpha:
            play_critic(critic, judge.weights(), photos, fake.detach(), sizes, alpha, rules, each)
            discriminator.update(rate)
        play_generator(critic, judge.weights(), photos, fake, reconstruction, sizes, rules, each)
        generator.update(rate, config.generator_steps)
        yield step + 1, _with(model, scale, [own.weights().detach() for own in sources])


def _with(model: PhotoModel, scale: int, weights: list[WeightSet]) -> PhotoModel:
    """The model with other weights of one scale, and of its tail if it has one."""
    scales = [*model.weights[:scale], weights[0], *model.weights[scale + 1:]]
    return replace(model, weights=scales, tail=weights[1] if model.tail is not None else None)

"""One scale of finished models trained on for a picture from outside: ConSinGAN's composites, SinGAN's paintings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import RoundNoise, draw_noise
from hyperconv.gan.noise import seeded
from hyperconv.gan.photo_model import Carried, PhotoModel
from hyperconv.gan.player import Group, Player
from hyperconv.gan.presets import Config
from hyperconv.gan.round import Rules, draw, pair, play_critic, play_generator, unpair
from hyperconv.nn.layout import WeightSet
from hyperconv.nn.sources import FreeWeights

Drawn = tuple[Tensor, Tensor]  # random images and reconstructions of a scale


def fine_tune(
    model: PhotoModel,
    critic: Discriminator,
    critic_weights: WeightSet,
    photos: Tensor,
    pictures: Tensor,
    steps: int,
    config: Config,
) -> Iterator[tuple[int, PhotoModel]]:
    """Train the newest scales and the tail on for `steps` steps, with pictures in place of the coarsest noise.

    Hinz et al. (2021), section 4: a ConSinGAN's last stage, of as many scales and at the rates it was trained with,
    gets used to one composite. photos: canvas (B, C, H, W) of the finest scale, still what is reconstructed; pictures
    (B, C, h, w): the composites at the coarsest. Yields (steps taken so far, model) after each step; the given model is
    left alone.
    """
    training = range(max(0, model.scales - config.train_depth), model.scales)

    def with_pictures(current: PhotoModel, noise: RoundNoise) -> Drawn:
        return draw(current, noise._replace(z=pictures + model.generator.picture_noise * noise.z), training[0])

    yield from _train(model, training, critic, critic_weights, photos, with_pictures, steps, config)


def repaint(
    model: PhotoModel,
    scale: int,
    critic: Discriminator,
    critic_weights: WeightSet,
    photos: Tensor,
    few_colours: Callable[[Tensor], Tensor],
    steps: int,
    config: Config,
) -> Iterator[tuple[int, PhotoModel]]:
    """Train one scale for `steps` steps to make photos of pictures in few colours.

    Shaham et al. (2019), section 4: the scale that a painting enters at sees what comes from below, in its own size, as
    `few_colours` (N, C, H, W) leaves it, random and reconstructed alike. photos: canvas (B, C, H, W) of the scale. Only
    for models that carry images. Yields (steps taken so far, model) after each step; the given model is left alone.
    """

    def from_few_colours(current: PhotoModel, noise: RoundNoise) -> Drawn:
        with torch.no_grad():
            random = current.climb(current.begin(noise.z), lambda shape, at: noise.above[at - 1], stop=scale)
            below = pair(random.values, current.climb_fixed(stop=scale).values)
            at = current.grid(scale, len(below))
            enlarged = few_colours(current.generator.enlarge(below, current.grid(scale - 1, len(below)), at))
        above = noise.above[scale - 1]
        drawn = current.next(Carried(enlarged, at, scale - 1), lambda shape, at: pair(above, torch.zeros_like(above)))
        return unpair(drawn.values)

    yield from _train(model, [scale], critic, critic_weights, photos, from_few_colours, steps, config)


def _train(
    model: PhotoModel,
    training: Sequence[int],
    critic: Discriminator,
    critic_weights: WeightSet,
    photos: Tensor,
    drawing: Callable[[PhotoModel, RoundNoise], Drawn],
    steps: int,
    config: Config,
) -> Iterator[tuple[int, PhotoModel]]:
    """The game at the last of some scales: the critics' steps, then the generators' along one gradient.

    Rates, their decay and how many steps the players take in turn are those of `config`.
    """
    newest = training[-1]
    sources = {scale: FreeWeights.from_weight_set(model.weights[scale]) for scale in training}
    tail = None if model.tail is None else FreeWeights.from_weight_set(model.tail)
    judge = FreeWeights.from_weight_set(critic_weights)
    groups = [Group([source.flat], config.pace ** (newest - scale)) for scale, source in sources.items()]
    generator = Player("generator", groups + ([] if tail is None else [Group([tail.flat])]), config)
    discriminator = Player("discriminator", [Group([judge.flat])], config)
    rules = Rules(config.penalty_weight, config.penalty_norm, config.reconstruction_weight)
    each, sizes = photos.new_ones(model.batch), model.sizes[newest]
    extents = [model.extent(level) for level in range(newest + 1)]

    def current(weights: Callable[[FreeWeights], WeightSet]) -> PhotoModel:
        scales = [weights(sources[scale]) if scale in sources else own for scale, own in enumerate(model.weights)]
        return replace(model, weights=scales, tail=None if tail is None else weights(tail))

    for step in range(steps):
        source = seeded(photos.device, config.seed, "retrain", step)
        noise = draw_noise(extents, model.batch, model.generator, source, config.critic_steps)
        rate = photos.new_tensor(config.rate_at(step, steps))
        fake, reconstruction = drawing(current(FreeWeights.weights), noise)
        for alpha in noise.alpha:
            play_critic(critic, judge.weights(), photos, fake.detach(), sizes, alpha, rules, each)
            discriminator.update(rate)
        play_generator(critic, judge.weights(), photos, fake, reconstruction, sizes, rules, each)
        generator.update(rate, config.generator_steps)
        yield step + 1, current(lambda own: own.weights().detach())

"""One step of both players: a function of the tensors it is given, which a GPU can run without the host."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.profiler import record_function

from hyperconv.gan.draw import StepInputs, Variants
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.player import Player
from hyperconv.gan.precision import generated_dtype
from hyperconv.gan.presets import Config
from hyperconv.gan.round import LOSSES, play
from hyperconv.gan.system import MetaGAN
from hyperconv.nn.layout import WeightSet


class Step:
    """Takes a step of the newest scale when called with its inputs; returns the losses, in the order of `names`.

    Weights are generated once. The game is played on leaves in their place, `at_a_time` photos after one another if
    not all at once (every photo has weights of its own: the gradients are the same), and what it leaves there goes
    back through the hypernetworks once. Nothing in here looks at a value on the host or makes a tensor of the host's
    numbers, so that a CUDA graph can hold all of it.
    """

    def __init__(self, system: MetaGAN, config: Config, players: list[Player], at_a_time: int) -> None:
        self.system, self.config, self.players, self.at_a_time = system, config, players, at_a_time
        self.names = [*LOSSES, *(["variants"] if config.variants and system.scales == 1 else [])]

    def __call__(self, inputs: StepInputs) -> Tensor:
        for player in self.players:
            player.forget()
        with record_function("hypernetwork"):
            generated = self.generate(inputs)
            leaves = [WeightSet(weights.layout, weights.flat.detach().requires_grad_()) for weights in generated[-2:]]
        with record_function("convolutions"):
            losses = self.play(inputs, generated[:-2] + leaves)
        with record_function("hypernetwork"):
            torch.autograd.backward([weights.flat for weights in generated[-2:]], [leaf.flat.grad for leaf in leaves])
            if inputs.variants is not None:
                losses = torch.cat([losses, self.rebuild(inputs.variants)[None]])
        with record_function("optimizer"):
            for player in self.players:
                player.update(inputs.rate)
        return losses

    def generate(self, inputs: StepInputs) -> list[WeightSet]:
        """The generator's weights of every scale, coarse to fine, then the critic's; the last two carry a graph."""
        generator, critic = self.system.generator, self.system.discriminator
        contexts = inputs.contexts
        if contexts is None:
            contexts = generator.embed(inputs.squares, inputs.coarsest)
        return [*self.system.generator_weights(contexts), critic.weights(critic.embed(inputs.squares), 0)]

    def play(self, inputs: StepInputs, weights: list[WeightSet]) -> Tensor:
        """Both games, some photos after the others; gradients are left at the weights. Returns their mean losses."""
        config, margin, photos = self.config, self.system.generator_template.margin, len(inputs.photos)
        dtype = generated_dtype(config.precision)
        extents = [tuple(inputs.noise.z.shape[-2:])]
        extents += [(noise.shape[-2] - 2 * margin, noise.shape[-1] - 2 * margin) for noise in inputs.noise.above]
        *scales, critic_weights = [each.to(dtype) for each in weights]
        model = PhotoModel(self.system.generator_template, scales, inputs.amplitudes, list(inputs.sizes.unbind(1)),
                           self.system.z_star, extents)
        settings = {"penalty_weight": config.penalty_weight, "penalty_norm": config.penalty_norm,
                    "reconstruction_weight": config.reconstruction_weight}
        critic = self.system.discriminator_template
        if self.at_a_time >= photos:
            return play(model, critic, critic_weights, inputs.photos, inputs.noise, **settings)
        losses = []
        for rows in (slice(i, min(i + self.at_a_time, photos)) for i in range(0, photos, self.at_a_time)):
            share = (rows.stop - rows.start) / photos
            losses.append(share * play(model.rows(rows), critic, critic_weights.select(rows), inputs.photos[rows],
                                       inputs.noise.rows(rows), share=share, **settings))
        return torch.stack(losses).sum(dim=0)

    def rebuild(self, altered: Variants) -> Tensor:
        """Backpropagate the first scale's reconstruction error of altered photos; returns it."""
        contexts = self.system.generator.embed(altered.squares, altered.images)
        model = self.system.photo_model(contexts, [altered.sizes], altered.images.new_ones(len(altered.sizes), 1))
        dtype = generated_dtype(self.config.precision)
        model = replace(model, weights=[weights.to(dtype) for weights in model.weights],
                        extents=[tuple(altered.images.shape[-2:])])
        error = (model.reconstruct() - altered.images).square().mean()
        (self.config.reconstruction_weight * error).backward()
        return error.detach()

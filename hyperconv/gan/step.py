"""One step of both players: a function of the tensors it is given, which a GPU can run without the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.profiler import record_function

from hyperconv.gan.draw import StepInputs, Variants
from hyperconv.gan.parts import Part, apart, take
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.player import Player
from hyperconv.gan.precision import generated_dtype
from hyperconv.gan.round import LOSSES, Rules, draw, draw_fakes, play_critic, play_generator, play_together
from hyperconv.gan.system import Generated, System
from hyperconv.gan.template import recomputing
from hyperconv.nn.layout import WeightSet


class Share(NamedTuple):
    """A part of a batch: the weights of its photos, and leaves with the same numbers that the game is played on."""

    part: Part
    weights: Generated
    leaves: Generated


class Step:
    """Takes a step of the newest scale when called with its inputs; returns losses (names, B), `names` says which.

    Weights are generated once for each update, the game is played on leaves in their place, part after part of the
    batch (every photo has weights of its own: the gradients are the same), and what it leaves there goes back to where
    the weights came from. Nothing in here looks at a value on the host or makes a tensor of the host's numbers, so that
    a CUDA graph can hold all of it.
    """

    def __init__(
        self,
        system: System,
        players: Sequence[Player],
        parts: Sequence[Part],
        recompute: bool = False,
        one_by_one: bool = False,
    ) -> None:
        """recompute: activations are not kept for the way back but computed again there; one_by_one: nor are those of
        one part while another has its turn."""
        self.system, self.config, self.parts = system, system.config, parts
        self.recompute, self.one_by_one = recompute, one_by_one
        self.generator, self.critic = players
        self.rules = Rules(self.config.penalty_weight, self.config.penalty_norm, self.config.reconstruction_weight)
        self.names = [*LOSSES, *(["variants"] if self.config.variants_at(system.scales - 1) else [])]

    def __call__(self, inputs: StepInputs) -> Tensor:
        for player in (self.generator, self.critic):
            player.forget()
        with recomputing(self.recompute):
            return self.alternate(inputs) if self.config.alternates else self.together(inputs)

    def together(self, inputs: StepInputs) -> Tensor:
        """One update of both players, from gradients taken at the same point."""
        with record_function("hypernetwork"):
            shares = self.deal(self.system.generate(inputs))
        losses = inputs.photos.new_empty(len(LOSSES), len(inputs.photos))
        with record_function("convolutions"):
            for share in shares:
                part = share.part
                losses[:, part.rows] = play_together(
                    self.model(inputs, share),
                    self.system.discriminator_template,
                    self.critic_weights(share),
                    self.photos(inputs, part),
                    inputs.noise[0].rows(part.rows),
                    self.rules,
                    inputs.each[part.rows],
                )
        with record_function("hypernetwork"):
            send_back(shares)
            if inputs.variants is not None:
                losses = torch.cat([losses, self.rebuild(inputs.variants).expand(1, losses.shape[1])])
        with record_function("optimizer"):
            for player in (self.generator, self.critic):
                player.update(inputs.rate)
        return losses

    def alternate(self, inputs: StepInputs) -> Tensor:
        """Several updates of the critics, then of the generators.

        With one draw of noise its fakes serve all of them, and one gradient all the generators' updates (ConSinGAN);
        with more, every update draws, and is along a gradient of its own (SinGAN).
        """
        config, fresh = self.config, self.config.draws > 1
        keeps_graph = not (fresh or self.one_by_one)
        losses = inputs.photos.new_empty(len(LOSSES), len(inputs.photos))
        shares, drawn = self.deal(self.system.generate(inputs)), None
        for update in range(config.critic_steps):
            if update < config.draws:
                if keeps_graph:
                    drawn = [self.draw(inputs, share, update) for share in shares]
                    fakes = [fake.detach() for fake, _ in drawn]
                else:
                    fakes = [self.draw_fakes(inputs, share, update) for share in shares]
            losses[:-1] = self.teach_critic(inputs, fakes, update)
        for update in range(config.generator_steps if fresh else 1):
            if update > 0:
                shares = self.deal(self.system.generate(inputs))
            losses[-1] = self.teach_generator(inputs, shares, drawn)
            self.generator.update(inputs.rate, 1 if fresh else config.generator_steps)
        return losses

    def teach_critic(self, inputs: StepInputs, fakes: list[Tensor], update: int) -> Tensor:
        """One update of the critics on these fakes of every part; their losses (4, B)."""
        shares = self.deal(self.system.generate(inputs).critics())
        losses = inputs.photos.new_empty(len(LOSSES) - 1, len(inputs.photos))
        with record_function("convolutions"):
            for share, fake in zip(shares, fakes):
                rows = share.part.rows
                losses[:, rows] = play_critic(
                    self.system.discriminator_template,
                    self.critic_weights(share),
                    self.photos(inputs, share.part),
                    fake,
                    inputs.sizes[rows, -1],
                    inputs.noise[0].alpha[update],
                    self.rules,
                    inputs.each[rows],
                )
        send_back(shares)
        with record_function("optimizer"):
            self.critic.update(inputs.rate)
        return losses

    def teach_generator(
        self, inputs: StepInputs, shares: list[Share], drawn: list[tuple[Tensor, Tensor]] | None
    ) -> Tensor:
        """The generators' gradients, on what was drawn with these shares or on the last noise; their errors (B,)."""
        errors = inputs.photos.new_empty(len(inputs.photos))
        critics = self.deal(self.system.generate(inputs).critics())
        with record_function("convolutions"):
            for number, (share, critic) in enumerate(zip(shares, critics)):
                rows = share.part.rows
                fake, reconstruction = drawn[number] if drawn else self.draw(inputs, share, -1)
                errors[rows] = play_generator(
                    self.system.discriminator_template,
                    self.critic_weights(critic),
                    self.photos(inputs, share.part),
                    fake,
                    reconstruction,
                    inputs.sizes[rows, -1],
                    self.rules,
                    inputs.each[rows],
                )
        send_back(shares)
        return errors

    def deal(self, generated: Generated) -> list[Share]:
        """The weights of all parts, with leaves in their place."""
        dealt = generated.each(
            lambda weights: [WeightSet(weights.layout, flat) for flat in apart(weights.flat, self.parts)]
        )
        own = [dealt.each(itemgetter(number)) for number in range(len(self.parts))]
        return [Share(part, weights, weights.each(as_leaf)) for part, weights in zip(self.parts, own)]

    def draw(self, inputs: StepInputs, share: Share, update: int) -> tuple[Tensor, Tensor]:
        """Random images and reconstructions of a part, from one of the step's noises."""
        with record_function("convolutions"):
            return draw(self.model(inputs, share), inputs.noise[update].rows(share.part.rows), self.system.learns_from)

    def draw_fakes(self, inputs: StepInputs, share: Share, update: int) -> Tensor:
        """The random images alone, which nothing is learned through."""
        with record_function("convolutions"):
            return draw_fakes(self.model(inputs, share), inputs.noise[update].rows(share.part.rows))

    def model(self, inputs: StepInputs, share: Share) -> PhotoModel:
        """The models of a part on its leaves, in the precision of the nets."""
        part, weights = share.part, share.leaves.each(self.cast)
        fixed = [
            None if each is None else take(each, part.rows) for each in self.system.fixed_inputs(len(inputs.photos))
        ]
        return PhotoModel(
            self.system.generator_template,
            weights.scales,
            inputs.amplitudes[part.rows],
            list(inputs.sizes[part.rows].unbind(1)),
            fixed,
            self.extents(inputs, part),
            weights.tail,
        )

    def extents(self, inputs: StepInputs, part: Part) -> list[tuple[int, int]]:
        """Heights and widths of a part's canvases at every scale."""
        if part.extents:
            return part.extents
        noise, margin = inputs.noise[0], self.system.generator_template.noise_margin
        above = [tuple(side - 2 * margin for side in drawn.shape[-2:]) for drawn in noise.above]
        return [tuple(noise.z.shape[-2:]), *above]

    def critic_weights(self, share: Share) -> WeightSet:
        """The critics' weights of a part, on its leaves, in the precision of the nets."""
        return self.cast(share.leaves.critic)

    def cast(self, weights: WeightSet) -> WeightSet:
        """Weights in the precision of the nets."""
        return weights.to(generated_dtype(self.config.precision))

    def photos(self, inputs: StepInputs, part: Part) -> Tensor:
        """The photos of a part, on its canvases."""
        height, width = self.extents(inputs, part)[-1]
        return take(inputs.photos, part.rows)[:, :, :height, :width]

    def rebuild(self, altered: Variants) -> Tensor:
        """Backpropagate the newest scale's reconstruction error of altered photos; returns its mean over them."""
        contexts = self.system.generator.embed(altered.squares, altered.images[0])
        sizes = altered.sizes.unbind(1)
        model = self.system.photo_model(contexts, list(sizes), contexts.new_ones(len(contexts), len(sizes)))
        model = replace(
            model,
            weights=[self.cast(weights) for weights in model.weights],
            extents=[tuple(image.shape[-2:]) for image in altered.images],
        )
        errors = (model.reconstruct() - altered.images[-1]).square().mean((1, 2, 3))
        (altered.each * self.config.reconstruction_weight * errors).sum().backward()
        return errors.detach().mean()


def as_leaf(weights: WeightSet) -> WeightSet:
    """The same weights, where they carry a graph as the leaf of a new one."""
    if not weights.flat.requires_grad:
        return weights
    return WeightSet(weights.layout, weights.flat.detach().requires_grad_())


def send_back(shares: Sequence[Share]) -> None:
    """Backpropagate what was left at the leaves to where the weights came from."""
    pairs = [
        (own, leaf.grad)
        for share in shares
        for own, leaf in zip(share.weights.flats(), share.leaves.flats())
        if leaf.requires_grad and leaf.grad is not None
    ]
    torch.autograd.backward(*zip(*pairs))

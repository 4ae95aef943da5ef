"""Domains that adapt side by side: the inner loop of a Reptile-GAN, all its tasks in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperconv.gan.reptile.draws import Draw
from hyperconv.gan.reptile.objective import critic_loss, generator_loss
from hyperconv.gan.reptile.system import ReptileGAN
from hyperconv.nn.layout import WeightSet


class Tasks:
    """B copies of a Reptile-GAN, one for each domain, as weight sets (B, P) of the same templates.

    Each has the GAN's weights at first, and moments of Adam of its own, from zero: nothing leaks from one task into
    another, or into the GAN itself, which `adapt` leaves as it is. Where the generator is not among the nets that
    adapt, all share its weights; every task has statistics of its own for it.
    """

    def __init__(self, gan: ReptileGAN, count: int) -> None:
        self.gan, self.config, self.nets, self.count = gan, gan.config, gan.nets, count
        self.weights = {
            name: WeightSet(net.layout, gan.weights[name].detach()[None]) for name, net in self.nets.items()
        }
        for name in gan.adapts:
            own = gan.weights[name].detach().repeat(count, 1).requires_grad_()
            self.weights[name] = WeightSet(self.nets[name].layout, own)
        self.statistics = {name: value.repeat(count, 1) for name, value in gan.statistics.items()}
        self.makers = [self.weights[name].flat for name in gan.adapts if name != "critic"]
        self.critic_adam = self._adam([self.weights["critic"].flat])
        self.maker_adam = self._adam(self.makers)

    def _adam(self, parameters: list[Tensor]) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, self.config.learning_rate, self.config.betas, fused=True)

    def adapt(self, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """One inner step: an update of the critics for each draw, then one of the MLPs. The losses of the tasks (B,).

        The images drawn for the last update of the critics serve the MLPs too: neither they nor the noise have changed.
        Both MLPs step along the gradients of one loss.
        """
        for draw in draws:
            fake = self.fakes(draw)
            by_critic = critic_loss(self.config, self.critic, draw, fake.detach(), self.count)
            _step(self.critic_adam, by_critic)
        by_maker = generator_loss(self.config, self.critic(fake), self.count)
        _step(self.maker_adam, by_maker)
        return {"critic": by_critic.detach(), "generator": by_maker.detach()}

    def outer_loss(self, draw: Draw, generator: WeightSet) -> Tensor:
        """What the adapted tasks say to a generator that all share: their mean loss, a scalar."""
        return generator_loss(self.config, self.critic(self.fakes(draw, generator)), self.count).mean()

    def fakes(self, draw: Draw, generator: WeightSet | None = None) -> Tensor:
        """Images (B * n, C, S, S) of the tasks' domains, normalised by their own statistics, which are kept."""
        codes = self.codes(draw.real) if "second_mlp" in self.nets else None
        return self.nets["generator"](
            self.latent(draw.noise, codes), generator or self.weights["generator"], self.statistics
        )

    def critic(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B * n,) of both heads for images (B * n, C, S, S): adversarial, domain."""
        return self.nets["critic"](images, self.weights["critic"])

    @torch.no_grad()
    def codes(self, real: Tensor) -> Tensor:
        """What the critics see in images of the domains (B * n, C, S, S): their mean features (B, top)."""
        features = self.nets["critic"].features(real, self.weights["critic"])
        return features.mean((2, 3)).unflatten(0, (self.count, -1)).mean(1)

    def latent(self, noise: Tensor, codes: Tensor | None) -> Tensor:
        """What the generator reads, (B * n, latent * MLPs)."""
        first = self.nets["mlp"](noise, self.weights["mlp"])
        if codes is None:
            return first
        second = self.nets["second_mlp"](codes, self.weights["second_mlp"])
        return torch.cat([first, second.repeat_interleave(len(noise) // self.count, 0)], 1)

    @torch.no_grad()
    def sample(self, noise: Tensor, real: Tensor) -> Tensor:
        """Images (B * n, C, S, S) for noise (B * n, latent), each independent of the others; real: the domains' images."""
        codes = self.codes(real) if "second_mlp" in self.nets else None
        latent = self.latent(noise, codes)
        return self.nets["generator"](latent, self.weights["generator"], self.statistics, training=False)

    @torch.no_grad()
    def pull(self, share: float) -> None:
        """Reptile's outer step: the GAN goes `share` of the way to the mean of its adapted copies (Nichol et al. 2018).

        Statistics of the generator, where it does not adapt itself, are simply carried on.
        """
        for name in self.gan.adapts:
            self.gan.weights[name].lerp_(self.weights[name].flat.mean(0), share)
        keep = share if "generator" in self.gan.adapts else 1.0
        for name, own in self.gan.statistics.items():
            own.lerp_(self.statistics[name].mean(0), keep)


def _step(adam: torch.optim.Adam, losses: Tensor) -> None:
    """The sum's gradient by a task's own weights is that of its own loss."""
    parameters = adam.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(losses.sum(), parameters)):
        parameter.grad = gradient
    adam.step()

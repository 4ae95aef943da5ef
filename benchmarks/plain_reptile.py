"""Reptile-GAN as one writes it in plain PyTorch: modules that are copied, adapted and dropped, one domain after another.

The loop of the published code, with what it wastes left out: the generator's gradients are not computed in the inner
loop, images drawn for the critic serve the MLPs, and both MLPs step along one loss.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.gan.reptile.draws import Draw
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.reptile.system import ReptileGAN

ADAPT = ("critic", "mlp", "second_mlp")


class PlainGenerator(nn.Sequential):
    def __init__(self, config: ReptileConfig, channels: int) -> None:
        layers, inputs = [], config.latent * config.mlps
        for level in range(config.levels):
            outputs, (stride, padding) = config.top // 2**level, (2, 1) if level else (1, 0)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        super().__init__(*layers, nn.ConvTranspose2d(inputs, channels, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        return super().forward(latent[:, :, None, None])


class PlainCritic(nn.Module):
    def __init__(self, config: ReptileConfig, channels: int) -> None:
        super().__init__()
        dcgan, layers = config.objective == "dcgan", []
        for level in range(config.levels):
            outputs = config.hidden * 2**level
            layers.append(nn.Conv2d(channels, outputs, 4, 2, 1, bias=level == 0 and not dcgan))
            if level:
                layers.append(nn.BatchNorm2d(outputs) if dcgan else nn.InstanceNorm2d(outputs, affine=True))
            layers.append(nn.LeakyReLU(0.2))
            channels = outputs
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.Conv2d(channels, 2, 4, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.heads(self.trunk(images))
        return scores[:, 0].flatten(), scores[:, 1].flatten()


def plain_mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))


class PlainReptile(nn.ModuleDict):
    """The nets of a ReptileGAN, with its weights at the time, and the published loop over domains."""

    def __init__(self, gan: ReptileGAN) -> None:
        config = gan.config
        nets = {
            "generator": PlainGenerator(config, gan.channels),
            "critic": PlainCritic(config, gan.channels),
            "mlp": plain_mlp(config.latent, config.latent),
        }
        if config.mlps == 2:
            nets["second_mlp"] = plain_mlp(config.top, config.latent)
        super().__init__(nets)
        self.config = config
        self.to(gan.weights["generator"])
        for name, net in self.items():
            fill(net, gan.weights[name])
        self.adam = torch.optim.Adam(self["generator"].parameters(), config.learning_rate, config.betas, fused=True)

    def outer_step(self, draws: list[list[Draw]], last: Draw, meta_rate: float) -> None:
        """One domain: an inner step for every list of draws, the generator's own step, the outer step."""
        task = self.adapted(draws)
        loss = self.generator_loss(task["critic"](self.fakes(task, last)))
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        self.pull(task, meta_rate)

    def adapted(self, draws: list[list[Draw]]) -> dict[str, nn.Module]:
        """Copies of the nets that adapt, after an inner step for every list of draws."""
        task = {name: copy.deepcopy(self[name]) for name in ADAPT if name in self}
        makers = [p for name, net in task.items() if name != "critic" for p in net.parameters()]
        critic_adam = torch.optim.Adam(
            task["critic"].parameters(), self.config.learning_rate, self.config.betas, fused=True
        )
        maker_adam = torch.optim.Adam(makers, self.config.learning_rate, self.config.betas, fused=True)
        self["generator"].requires_grad_(False)
        for updates in draws:
            for draw in updates:
                fake = self.fakes(task, draw)
                critic_adam.zero_grad()
                self.critic_loss(task["critic"], draw, fake.detach()).backward()
                critic_adam.step()
            maker_adam.zero_grad()
            task["critic"].requires_grad_(False)
            self.generator_loss(task["critic"](fake)).backward()
            task["critic"].requires_grad_(True)
            maker_adam.step()
        self["generator"].requires_grad_(True)
        return task

    @torch.no_grad()
    def pull(self, task: dict[str, nn.Module], meta_rate: float) -> None:
        """Reptile: part of the way to the adapted weights."""
        for name, net in task.items():
            for own, adapted in zip(self[name].parameters(), net.parameters()):
                own += meta_rate * (adapted - own)

    def fakes(self, task: dict[str, nn.Module], draw: Draw) -> Tensor:
        latent = task["mlp"](draw.noise)
        if "second_mlp" in task:
            with torch.no_grad():
                code = F.avg_pool2d(task["critic"].trunk(draw.real), 4).flatten(1).mean(0, keepdim=True)
            latent = torch.cat([latent, task["second_mlp"](code).expand(len(latent), -1)], 1)
        return self["generator"](latent)

    def critic_loss(self, critic: nn.Module, draw: Draw, fake: Tensor) -> Tensor:
        (real_score, real_domain), (fake_score, _), (_, anti_domain) = (
            critic(draw.real),
            critic(fake),
            critic(draw.anti),
        )
        if self.config.objective == "dcgan":
            return sum(map(self.cross_entropy, (real_score, real_domain, fake_score, anti_domain), (1, 1, 0, 0)))
        distance = real_score.mean() - fake_score.mean() + real_domain.mean() - anti_domain.mean()
        penalties = sum(
            self.penalty(critic, head, draw.alpha[head] * draw.real + (1 - draw.alpha[head]) * other)
            for head, other in enumerate((fake, draw.anti))
        )
        return self.config.penalty_weight * penalties - distance

    def generator_loss(self, scores: tuple[Tensor, Tensor]) -> Tensor:
        if self.config.objective == "dcgan":
            return sum(self.cross_entropy(score, 1) for score in scores)
        return -sum(score.mean() for score in scores)

    @staticmethod
    def cross_entropy(logits: Tensor, wanted: int) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))

    @staticmethod
    def penalty(critic: nn.Module, head: int, images: Tensor) -> Tensor:
        images.requires_grad_()
        (gradient,) = torch.autograd.grad(critic(images)[head].sum(), images, create_graph=True)
        return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def fill(net: nn.Module, flat: Tensor) -> None:
    """A net's parameters from one vector, in the order of its layers."""
    nn.utils.vector_to_parameters(flat.clone(), net.parameters())


def flat_of(net: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(net.parameters()).detach()

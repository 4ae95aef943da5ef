"""One training iteration of ConSinGAN (Hinz et al., WACV 2021) on one photo, composed from plain PyTorch.

What the published implementation does in an iteration, in the same order and as often: the fake drawn anew for each of
the critic's three steps, the penalty with its double backward, one pass back through the generator and three steps of
its optimizer, the last three bodies in training. It shares no code with hyperconv, so that the package can be measured
against it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN, SLOPE, DEPTH, TRAINED = 64, 0.05, 3, 3
PENALTY_WEIGHT, RECONSTRUCTION_WEIGHT, RATE = 0.1, 10.0, 5e-4


def block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3), nn.LeakyReLU(SLOPE, inplace=True))


class Generator(nn.Module):
    """A head, a body per stage, a tail."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.head = block(channels, hidden)
        self.bodies = nn.ModuleList([nn.Sequential(*(block(hidden, hidden) for _ in range(DEPTH)))])
        self.tail = nn.Sequential(nn.Conv2d(hidden, channels, 3), nn.Tanh())

    def forward(self, noise: list[Tensor], sizes: list[tuple[int, int]], amplitudes: list[float]) -> Tensor:
        x = self.head(F.pad(noise[0], [1] * 4))
        x = enlarged(x, (x.shape[2] + 2, x.shape[3] + 2))
        x = self.bodies[0](F.pad(x, [DEPTH - 1] * 4))
        for body, size, drawn, amplitude in zip(self.bodies[1:], sizes[1:], noise[1:], amplitudes[1:]):
            around = enlarged(x, (size[0] + 2 * DEPTH, size[1] + 2 * DEPTH))
            x = body(around + amplitude * drawn) + enlarged(x, size)
        return self.tail(F.pad(x, [1] * 4))


def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bicubic", align_corners=True)


class PlainConSinGAN:
    """The training of one photo at its stage number len(sizes) - 1; `step()` takes an iteration."""

    def __init__(self, photos: list[Tensor], hidden: int = HIDDEN) -> None:
        """photos: the pyramid (1, C, h, w), coarse to fine, up to the stage in training."""
        self.photos, self.sizes, self.hidden = photos, [tuple(p.shape[2:]) for p in photos], hidden
        channels = photos[0].shape[1]
        self.generator = Generator(channels, hidden)
        for _ in photos[1:]:
            self.generator.bodies.append(copy.deepcopy(self.generator.bodies[-1]))
        self.critic = nn.Sequential(
            block(channels, hidden), *(block(hidden, hidden) for _ in range(DEPTH)), nn.Conv2d(hidden, 1, 3)
        )
        for net in (self.generator, self.critic):
            net.to(photos[0].device)
        for convolution in [
            m for net in (self.generator, self.critic) for m in net.modules() if isinstance(m, nn.Conv2d)
        ]:
            nn.init.normal_(convolution.weight, 0.0, 0.02)
        self.amplitudes = [1.0] + [0.05] * (len(photos) - 1)
        self.fixed = [photos[0], *self.noise()[1:]]
        for body in self.generator.bodies[:-TRAINED]:
            body.requires_grad_(False)
        stage = len(photos) - 1
        groups = [
            {"params": body.parameters(), "lr": RATE * 0.1**distance}
            for distance, body in enumerate(reversed(self.generator.bodies[-TRAINED:]))
        ]
        if stage < TRAINED:
            groups.append({"params": self.generator.head.parameters(), "lr": RATE * 0.1**stage})
        groups.append({"params": self.generator.tail.parameters(), "lr": RATE})
        self.generator_adam = torch.optim.Adam(groups, lr=RATE, betas=(0.5, 0.999))
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=RATE, betas=(0.5, 0.999))

    def noise(self) -> list[Tensor]:
        first = torch.randn_like(self.photos[0])
        return [first] + [
            torch.randn(1, self.hidden, h + 2 * DEPTH, w + 2 * DEPTH, device=first.device) for h, w in self.sizes[1:]
        ]

    def draw(self, noise: list[Tensor]) -> Tensor:
        return self.generator(noise, self.sizes, self.amplitudes)

    def penalty(self, fake: Tensor) -> Tensor:
        alpha = torch.rand(1, 1, device=fake.device)
        between = (alpha * self.photos[-1] + (1 - alpha) * fake).detach().requires_grad_()
        scores = self.critic(between)
        (slope,) = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)
        return PENALTY_WEIGHT * (slope.norm(2, dim=1) - 1).square().mean()

    def step(self) -> dict[str, Tensor]:
        """One iteration; its losses."""
        photo, noise, steps = self.photos[-1], self.noise(), 3
        for number in range(steps):
            self.critic.zero_grad()
            with torch.set_grad_enabled(number == steps - 1):
                fake = self.draw(noise)
            loss = self.critic(fake.detach()).mean() - self.critic(photo).mean() + self.penalty(fake.detach())
            loss.backward()
            self.critic_adam.step()
        error = F.mse_loss(self.draw(self.fixed), photo)
        self.generator.zero_grad()
        (RECONSTRUCTION_WEIGHT * error - self.critic(fake).mean()).backward()
        for _ in range(steps):
            self.generator_adam.step()
        return {"critic": loss.detach(), "reconstruction": error.detach()}

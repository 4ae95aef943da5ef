"""One training step of Meta Internal Learning (Bensadoun et al., NeurIPS 2021) composed from plain PyTorch.

What the published implementation does in a step, in the same order and as often: per-sample weights through
grouped convolution, weights generated anew for every call of a network (four times for the critic, twice for
the generator), gradients through all scales into the generator's backbone, and of the critic's parameters in
the generator's step too. It shares no code with hyperconv, so that the package can be measured against it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = ((19, 26), (27, 37), (40, 54), (60, 80), (87, 117), (128, 171), (187, 250))
FEATURES = 512
HIDDEN = 64
DEPTH = 5
MARGIN = 5
SLOPE = 0.02
EMBEDDING_SIZE = 128
PENALTY_WEIGHT = 0.1
RECONSTRUCTION_WEIGHT = 50.0
TAIL_GAIN = {"generator": 5 / 3, "critic": 1.0}

Weights = list[tuple[Tensor, Tensor]]  # (B, C_out, C_in, 3, 3) and (B, C_out) of each convolution


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


def resnet(blocks: tuple[int, ...] = (3, 4, 6, 3)) -> nn.Sequential:
    """ResNet-34 up to its pooled features: image (B, 3, 128, 128) -> (B, 512); batch statistics always."""
    stem = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    body, channels = [], 64
    for stage, count in enumerate(blocks):
        for i in range(count):
            wide = 64 * 2**stage
            body.append(Block(channels, wide, stride=2 if stage > 0 and i == 0 else 1))
            channels = wide
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class HeadSet(nn.Module):
    """One Linear per generated tensor of a five-layer net: ten of them."""

    def __init__(self, role: str, hidden: int) -> None:
        super().__init__()
        last = 3 if role == "generator" else 1
        self.widths = [3] + [hidden] * (DEPTH - 1) + [last]
        self.tail_gain = TAIL_GAIN[role]
        pairs = list(zip(self.widths, self.widths[1:]))
        self.weights = nn.ModuleList(nn.Linear(FEATURES, fan_out * fan_in * 9) for fan_in, fan_out in pairs)
        self.biases = nn.ModuleList(nn.Linear(FEATURES, fan_out) for _, fan_out in pairs)

    def forward(self, features: Tensor) -> Weights:
        generated = []
        for i, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:])):
            gain = self.tail_gain if i == DEPTH - 1 else math.sqrt(2 / (1 + SLOPE**2))
            weight = self.weights[i](features).view(-1, fan_out, fan_in, 3, 3) * (gain / math.sqrt(fan_in * 9))
            generated.append((weight, self.biases[i](features) / math.sqrt(fan_in)))
        return generated


class HyperNetwork(nn.Module):
    """Backbone, embedding and head sets: photos (B, 3, 128, 128) -> the weights of every scale's net."""

    def __init__(self, role: str, scales: int, hidden: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone = nn.Sequential(resnet(blocks), nn.Linear(64 * 2 ** (len(blocks) - 1), FEATURES))
        self.heads = nn.ModuleList(HeadSet(role, hidden) for _ in range(scales))
        for finished in self.heads[:-1]:
            finished.requires_grad_(False)

    def forward(self, photos: Tensor) -> list[Weights]:
        features = self.backbone(photos)
        return [head(features) for head in self.heads]


def stack(x: Tensor, weights: Weights) -> Tensor:
    """Five 3x3 convolutions without padding, grouped by sample; leaky ReLU between them."""
    for i, (weight, bias) in enumerate(weights):
        n, fan_out = weight.shape[:2]
        x = x.reshape(1, -1, *x.shape[-2:])
        x = F.conv2d(x, weight.reshape(n * fan_out, -1, 3, 3), bias.reshape(-1), groups=n)
        x = x.reshape(n, fan_out, *x.shape[-2:])
        if i < DEPTH - 1:
            x = F.leaky_relu(x, SLOPE)
    return x


class PlainStep:
    """The published step at one scale, on random photos; `step()` runs it once.

    scale: index into `sizes` ((height, width) per scale, coarse to fine); batch: photos per step;
    hidden: width of the generated nets; blocks: per stage of the backbone; published values by default.
    """

    def __init__(
        self,
        scale: int,
        batch: int,
        device: str,
        sizes=SIZES,
        hidden: int = HIDDEN,
        blocks: tuple[int, ...] = (3, 4, 6, 3),
    ) -> None:
        self.sizes = sizes[: scale + 1]
        self.batch = batch
        with torch.device(device):
            self.generator = HyperNetwork("generator", scale + 1, hidden, blocks)
            self.critic = HyperNetwork("critic", 1, hidden, blocks)
        self.optimizers = {
            network: torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=5e-5, betas=(0.5, 0.999))
            for network in (self.generator, self.critic)
        }
        self.photos = torch.rand(batch, 3, *sizes[scale], device=device) * 2 - 1
        self.squashed = F.interpolate(self.photos, (EMBEDDING_SIZE, EMBEDDING_SIZE), mode="bilinear")
        self.z_star = torch.randn(1, 3, *sizes[0], device=device).expand(batch, -1, -1, -1)
        self.amplitudes = [1.0] + [0.1] * scale

    def step(self) -> dict[str, Tensor]:
        """One critic and one generator step; the generator's reuses the fakes of the critic's."""
        fake = self.sample()
        return {**self.critic_step(fake.detach()), **self.generator_step(fake)}

    def critic_step(self, fake: Tensor) -> dict[str, Tensor]:
        self.critic.zero_grad()
        real_score = self.score(self.photos)
        self.backward(-real_score)
        fake_score = self.score(fake)
        self.backward(fake_score)
        penalty = self.penalty(fake)
        self.update(self.critic)
        return {"real": real_score.detach(), "fake": fake_score.detach(), "penalty": penalty.detach()}

    def generator_step(self, fake: Tensor) -> dict[str, Tensor]:
        self.generator.zero_grad()
        reconstruction = F.mse_loss(self.reconstruct(), self.photos)
        self.backward(RECONSTRUCTION_WEIGHT * reconstruction - self.score(fake))
        self.update(self.generator)
        return {"reconstruction": reconstruction.detach()}

    def sample(self) -> Tensor:
        return self.climb(torch.randn_like(self.z_star), self.generate(self.generator), noisy=True)

    def reconstruct(self) -> Tensor:
        return self.climb(self.z_star, self.generate(self.generator), noisy=False)

    def climb(self, z: Tensor, weights: list[Weights], noisy: bool) -> Tensor:
        """The pyramid from noise z (B, 3, h0, w0) to the newest scale's image."""
        image = torch.tanh(stack(F.pad(z, [MARGIN] * 4), weights[0]))
        for size, own, amplitude in zip(self.sizes[1:], weights[1:], self.amplitudes[1:]):
            below = F.interpolate(image, size, mode="bilinear", align_corners=True)
            padded = F.pad(below, [MARGIN] * 4)
            if noisy:
                padded = padded + amplitude * torch.randn_like(padded)
            image = torch.tanh(stack(padded, own)) + below
        return image

    def score(self, images: Tensor) -> Tensor:
        return stack(images, self.generate(self.critic)[0]).mean()

    def penalty(self, fake: Tensor) -> Tensor:
        """WGAN-GP: the norm over channels of each pixel's gradient; backpropagated here."""
        alpha = torch.rand(1, device=fake.device)
        between = (alpha * self.photos + (1 - alpha) * fake).requires_grad_()
        scores = stack(between, self.generate(self.critic)[0])
        (gradient,) = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)
        penalty = (gradient.norm(2, dim=1) - 1).square().mean()
        self.backward(PENALTY_WEIGHT * penalty)
        return penalty

    def generate(self, network: HyperNetwork) -> list[Weights]:
        """Backbone and heads, once more for every call."""
        return network(self.squashed)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def update(self, network: HyperNetwork) -> None:
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizers[network].step()

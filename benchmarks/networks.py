"""Networks that the generic tools are measured on, in the form people write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions and a skip, 1x1 where the shape changes; `norm(channels)` makes a normalisation."""

    def __init__(self, channels: int, out: int, stride: int, norm) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), norm(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), norm(out)
        changes = stride != 1 or channels != out
        self.skip = nn.Conv2d(channels, out, 1, stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.skip(x))


def resnet(norm, blocks: int = 3) -> nn.Sequential:
    """The ResNet for CIFAR (He et al. 2016, section 4.2): 6 `blocks` + 2 layers, widths 16, 32, 64."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), norm(16), nn.ReLU()]
    channels = 16
    for out in (16, 32, 64):
        for block in range(blocks):
            layers.append(Residual(channels, out, 2 if block == 0 and out > 16 else 1, norm))
            channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class UNet(nn.Module):
    """Ronneberger et al. (2015) with three levels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def twice(channels: int, out: int) -> nn.Sequential:
            first, second = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
            return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

        self.down = nn.ModuleList([twice(3, width), twice(width, 2 * width)])
        self.bottom = twice(2 * width, 4 * width)
        self.enlarge = nn.ModuleList([nn.ConvTranspose2d(c, c // 2, 2, 2) for c in (4 * width, 2 * width)])
        self.up = nn.ModuleList([twice(4 * width, 2 * width), twice(2 * width, width)])
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level in self.down:
            skips.append(level(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottom(x)
        for enlarge, level in zip(self.enlarge, self.up):
            x = level(torch.cat([skips.pop(), enlarge(x)], 1))
        return self.head(x)


def critic(width: int = 64) -> nn.Sequential:
    """DCGAN's (Radford et al. 2016) for 32x32 images, without normalisation, as WGAN-GP needs it."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 4), nn.Flatten(),
    )  # fmt: skip


def convnet(norm) -> nn.Sequential:
    """A plain classifier of 32x32 images: three convolutions, two linear layers."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 1, 1), norm(32), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(32, 64, 3, 1, 1), norm(64), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip

"""ResNet trunks (He et al. 2016) with constant normalisation: no image influences another one's features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # residual blocks per stage, by depth


class FixedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by constants: (x - running_mean) / sqrt(running_var + eps) * weight + bias, always.

    Training and inference are the same function and samples never mix. The statistics come from a published
    state_dict or are measured once with `measure`; `weight` and `bias` train. Keys are those of
    `nn.BatchNorm2d`; `num_batches_tracked` is 0 until statistics have been measured or loaded.
    """

    @torch.no_grad()
    def measure(self, input: Tensor) -> None:
        """Fix the statistics to the mean and the (biased) variance of `input` (N, C, H, W) per channel."""
        variance, mean = torch.var_mean(input.to(self.running_mean.dtype), dim=(0, 2, 3), correction=0)
        self.running_mean.copy_(mean)
        self.running_var.copy_(variance)
        self.num_batches_tracked.fill_(1)

    def forward(self, input: Tensor) -> Tensor:
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def fixed_norms(module: nn.Module) -> Iterator[FixedBatchNorm2d]:
    return (part for part in module.modules() if isinstance(part, FixedBatchNorm2d))


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class Block(nn.Module):
    """A residual block: two 3x3 convolutions; with `bottleneck` 1x1, 3x3 and 1x1 to four times the width."""

    def __init__(self, in_channels: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        out_channels = 4 * width if bottleneck else width
        if bottleneck:
            steps = [(in_channels, width, 1, 1), (width, width, 3, stride), (width, out_channels, 1, 1)]
        else:
            steps = [(in_channels, width, 3, stride), (width, width, 3, 1)]
        for i, step in enumerate(steps, start=1):
            self.add_module(f"conv{i}", conv(*step))
            self.add_module(f"bn{i}", FixedBatchNorm2d(step[1]))
        self.depth = len(steps)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                conv(in_channels, out_channels, 1, stride), FixedBatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            if i < self.depth:
                x = F.relu(x)
        return F.relu(x + skip)


class ResNet(nn.Module):
    """(B, 3, H, W) -> (B, `features`): a ResNet of `depth` 18, 34 or 50 up to its global average pooling.

    The state_dict has torchvision's names without `fc`. Convolutions start as He et al. (2015), fan-out mode.
    """

    def __init__(self, depth: int):
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}")
        bottleneck = depth >= 50
        self.conv1 = conv(3, 64, 7, stride=2)
        self.bn1 = FixedBatchNorm2d(64)
        self.features = 64
        for stage, count in enumerate(BLOCKS[depth]):
            width = 64 * 2**stage
            blocks = []
            for i in range(count):
                stride = 2 if i == 0 and stage > 0 else 1
                blocks.append(Block(self.features, width, stride, bottleneck))
                self.features = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), kernel_size=3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))

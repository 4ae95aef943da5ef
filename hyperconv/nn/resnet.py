"""ResNet trunks (He et al. 2016) with constant normalisation: no image influences another one's features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.weights import check_state, without_prefix
from hyperconv.errors import InputError
from hyperconv.nn.conv import SharedConv2d

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # residual blocks per stage, by depth
BOTTLENECK = 50  # the least depth whose blocks have three convolutions
HEADS = ("fc.", "projection_head.", "prototypes.")  # behind the trunk, of classifiers, MoCo and SwAV


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
    return SharedConv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


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
            self.downsample = nn.Sequential(conv(in_channels, out_channels, 1, stride), FixedBatchNorm2d(out_channels))

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
        bottleneck = depth >= BOTTLENECK
        self.depth = depth
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


def published_resnet(state: dict[str, Tensor], path: Path, depth: int | None = None) -> ResNet:
    """The trunk whose state_dict, read from `path`, has torchvision's names: a classifier's, or a checkpoint of MoCo or SwAV.

    Prefixes of training wrappers and heads behind the trunk are left out. depth: the one that it must be of, or None for
    the file's own. InputError where it is no such network.
    """
    state = {key: value for key, value in without_prefix(state, "conv1.weight").items() if not key.startswith(HEADS)}
    trunk = ResNet(depth or _depth_of(state, path))
    expected = trunk.state_dict()
    for key in expected:  # older published files have no counters
        if key.endswith("num_batches_tracked"):
            state[key] = torch.ones((), dtype=torch.long)
    check_state(path, f"resnet{depth}" if depth else "a ResNet", state, expected)
    trunk.load_state_dict(state)
    return trunk


def _depth_of(state: dict[str, Tensor], path: Path) -> int:
    stages = tuple(
        len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")}) for stage in range(1, 5)
    )
    bottleneck = "layer1.0.conv3.weight" in state
    fitting = [depth for depth, blocks in BLOCKS.items() if blocks == stages and (depth >= BOTTLENECK) == bottleneck]
    if not fitting:
        raise InputError(
            f"{path}: not the weights of a ResNet of {', '.join(map(str, BLOCKS))} layers under torchvision's names"
        )
    return fitting[0]

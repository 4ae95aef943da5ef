"""Inception v3 (Szegedy et al. 2016) as a whole, up to the 2,048 features that the Frechet inception distance compares.

Of two published variants the file tells which it is: the one that FID is defined with (pytorch-fid's
pt_inception-2015-12-05-*.pth, 1,008 classes) leaves the border out of its average poolings, and its last one takes the
maximum; torchvision's (inception_v3_google-*.pth, 1,000 classes) does neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.weights import check_state
from hyperconv.metrics.inception import ConvNorm, InceptionStem

Variant = Literal["fid", "torchvision"]
SIDE, WIDTH = 299, 2048  # pixels that images are brought to; features
CLASSES: dict[int, Variant] = {1008: "fid", 1000: "torchvision"}
BEHIND = ("fc.", "AuxLogits.")  # the features

WIDE, HIGH = (1, 7), (7, 1)
FORK = ((1, 3), (3, 1))  # two layers of the same input
Branches = dict[str, list[tuple]]
"""Layers of every branch: (channels, kernel), or (channels, kernel, kernel) for two that end it side by side."""


class Mixed(nn.Module):
    """Branches of convolutions side by side, and one behind a 3x3 pooling with `pooled` channels, or none of its own.

    Without `pooled` all halve the image: the last layers have stride 2, and the maximum is taken.
    """

    def __init__(self, in_channels: int, branches: Branches, pooled: int | None, maximum: bool, border: bool) -> None:
        super().__init__()
        self.chains, self.maximum, self.border = [], maximum or pooled is None, border
        for name, layers in branches.items():
            chain, before = [], in_channels
            for place, (channels, *kernels) in enumerate(layers, 1):
                number = f"_{place}" if len(layers) > 1 else ""
                halving = pooled is None and place == len(layers)
                stage = [f"branch{name}{number}{letter}" for letter in ("ab" if len(kernels) > 1 else [""])]
                for own, kernel in zip(stage, kernels):
                    self.add_module(own, _conv(before, channels, kernel, halving))
                chain.append(stage)
                before = channels * len(kernels)
            self.chains.append(chain)
        self.stride = 2 if pooled is None else 1
        self.branch_pool = None if pooled is None else _conv(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for chain in self.chains:
            part = x
            for stage in chain:
                part = torch.cat([getattr(self, name)(part) for name in stage], 1)
            parts.append(part)
        return torch.cat([*parts, self._pooled(x)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.branch_pool is None:
            return F.max_pool2d(x, 3, 2)
        if self.maximum:
            return self.branch_pool(F.max_pool2d(x, 3, 1, padding=1))
        return self.branch_pool(F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=self.border))


class InceptionV3(InceptionStem):
    """Images (N, 3, H, W) in [-1, 1] -> (N, 2048), the average over all places of the last layer.

    Images are resized to 299 x 299 as pytorch-fid does: bilinear, without antialiasing.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        border = variant == "torchvision"

        def mixed(in_channels: int, branches: Branches, pooled: int | None, maximum: bool = False) -> Mixed:
            return Mixed(in_channels, branches, pooled, maximum, border)

        first = {"1x1": [(64, 1)], "5x5": [(48, 1), (64, 5)], "3x3dbl": [(64, 1), (96, 3), (96, 3)]}
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = (
            mixed(192, first, 32),
            mixed(256, first, 64),
            mixed(288, first, 64),
        )
        self.Mixed_6a = mixed(288, {"3x3": [(384, 3)], "3x3dbl": [(64, 1), (96, 3), (96, 3)]}, None)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            long = [(width, 1), (width, HIGH), (width, WIDE), (width, HIGH), (192, WIDE)]
            self.add_module(
                f"Mixed_{name}",
                mixed(768, {"1x1": [(192, 1)], "7x7": [(width, 1), (width, WIDE), (192, HIGH)], "7x7dbl": long}, 192),
            )
        self.Mixed_7a = mixed(
            768, {"3x3": [(192, 1), (320, 3)], "7x7x3": [(192, 1), (192, WIDE), (192, HIGH), (192, 3)]}, None
        )
        last = {"1x1": [(320, 1)], "3x3": [(384, 1), (384, *FORK)], "3x3dbl": [(448, 1), (384, 3), (384, *FORK)]}
        self.Mixed_7b, self.Mixed_7c = mixed(1280, last, 192), mixed(2048, last, 192, maximum=not border)

    def forward(self, images: Tensor) -> Tensor:
        x = F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
        x = F.max_pool2d(self.stem(x), 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))


def published_inception(state: dict[str, Tensor], path: Path) -> tuple[InceptionV3, Variant]:
    """The net whose state_dict was read from `path`, and which of the two it is. InputError where it is neither."""
    classes = state["fc.weight"].shape[0] if "fc.weight" in state else 0
    variant = CLASSES.get(classes, "fid")
    with torch.device("meta"):
        net = InceptionV3(variant)
    expected, state = net.state_dict(), {key: value for key, value in state.items() if not key.startswith(BEHIND)}
    for key in expected:  # not in every published file
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.long)
    check_state(path, "Inception v3", state, expected)
    net.load_state_dict(state, assign=True)
    return net, variant


def _conv(in_channels: int, channels: int, kernel: int | tuple[int, int], halving: bool = False) -> ConvNorm:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    if halving:
        return ConvNorm(in_channels, channels, (height, width), stride=2)
    return ConvNorm(in_channels, channels, (height, width), padding=(height // 2, width // 2))

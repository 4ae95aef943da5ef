"""The front of Inception v3 (Szegedy et al. 2016), up to the features that SIFID compares.

Its layers before the second max pooling are the same in every published variant, so the state_dict of the FID
variant (pytorch-fid's pt_inception-2015-12-05-*.pth) and torchvision's (inception_v3_google-*.pth) both fit; they
hold different numbers, and the scores of one are not comparable with those of the other. SinGAN's public script takes
block 64 of torchvision's weights, where its paper says "just before the second pooling layer", which is block 192.
"""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.weights import check_state, read_state_dict
from hyperconv.errors import InputError

Block = Literal[192, 64]
BLOCKS: dict[int, str] = {192: "before the second max pooling", 64: "before the first max pooling"}
"""Channels of the features, and where they are taken."""

LEAST = {192: 23, 64: 9}
"""Pixels a side that leave features of 2x2 or more."""


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation by its stored statistics (eps 0.001), ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        bn, x = self.bn, self.conv(x)
        return F.relu(F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps))


class InceptionStem(nn.Module):
    """The convolutions before the second max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)

    def stem(self, pixels: Tensor, block: Block = 192) -> Tensor:
        """Pixels (N, 3, H, W) in [-1, 1] -> (N, block, h, w)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pixels)))
        if block == 64:
            return x
        return self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, kernel_size=3, stride=2)))


class InceptionFront(InceptionStem):
    """Images (N, 3, H, W) in [0, 1] -> features (N, block, h, w), one vector for each place.

    block: 192 or 64, a key of `BLOCKS`; H and W at least LEAST[block]. Pixels are scaled to [-1, 1] as pytorch-fid
    does, and images are not resized. `weights` is a state_dict of a whole Inception v3 in a .pth or .safetensors file;
    InputError where it is none. sha256: of that file, which names the weights better than its name does.
    """

    def __init__(self, weights: str | PathLike, block: Block = 192):
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"block is {block}, expected one of {', '.join(map(str, BLOCKS))}")
        self.block = block
        self._load(Path(weights))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or images.shape[1] != 3 or min(images.shape[2:]) < LEAST[self.block]:
            least = LEAST[self.block]
            raise ValueError(
                f"images must be (N, 3, H, W) of at least {least}x{least} pixels for the {self.block} features, "
                f"got {tuple(images.shape)}"
            )
        return self.stem(2 * images - 1, self.block)

    def _load(self, path: Path) -> None:
        # batch counters are not in every published file, and are of no use here
        expected = {key: value for key, value in self.state_dict().items() if not key.endswith("num_batches_tracked")}
        state = {key: value for key, value in _read(path).items() if key in expected}
        check_state(path, "Inception v3", state, expected)
        self.load_state_dict(state, strict=False)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return read_state_dict(path)
    except InputError as error:
        if error.__cause__ is None:
            raise
        raise InputError(
            f"{path}: not a file of network weights, or a damaged one; take pytorch-fid's "
            "pt_inception-2015-12-05-*.pth or torchvision's inception_v3_google-*.pth"
        ) from error

"""Embedding networks: one photo -> one context vector, whatever other photos are in the batch."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.images import resize, to_uint8
from hyperconv.data.weights import imagenet_scaling, read_state_dict
from hyperconv.errors import InputError
from hyperconv.nn.contrast import train_contrastive
from hyperconv.nn.instance_features import CONTRASTIVE, PUBLISHED, StandardFeatures
from hyperconv.nn.resnet import BLOCKS, ResNet, fixed_norms, published_resnet

EMBEDDINGS = (*(f"resnet{depth}" for depth in BLOCKS), "conv", CONTRASTIVE, *(f"frozen-{kind}" for kind in PUBLISHED))


class ResNetEmbedding(nn.Module):
    """Photos (B, `in_channels`, S, S) in [-1, 1] -> (B, `features`): a ResNet trunk, then one Linear.

    `weights` is a file with torchvision's state_dict of the same depth (.pth or .safetensors): the trunk
    starts from it, keeps its statistics, and sees photos normalised as ImageNet's. Without it the trunk
    starts at random and sees [-1, 1]; call `calibrate` once before training. All of this is in the
    state_dict, so a saved model is rebuilt without the file. Grey photos (`in_channels` 1) are repeated into
    three channels. Raises InputError where the file does not fit.
    """

    CALIBRATION_PHOTOS = 64  # at most

    def __init__(
        self,
        depth: int = 34,
        features: int = 512,
        in_channels: int = 3,
        weights: str | os.PathLike | None = None,
    ):
        super().__init__()
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 (grey) or 3 (RGB), got {in_channels}")
        self.in_channels = in_channels
        scale, shift = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
        if weights is None:
            self.trunk = ResNet(depth)
        else:
            self.trunk = published_resnet(read_state_dict(Path(weights)), Path(weights), depth)
            scale, shift = imagenet_scaling()
        self.projection = nn.Linear(self.trunk.features, features)
        self.register_buffer("input_scale", scale)
        self.register_buffer("input_shift", shift)

    def forward(self, photos: Tensor) -> Tensor:
        _check_photos(photos, self.in_channels)
        return self.projection(self.trunk(photos.expand(-1, 3, -1, -1) * self.input_scale + self.input_shift))

    @property
    def calibrated(self) -> bool:
        """Whether every norm layer has its statistics, measured or published."""
        return all(bool(norm.num_batches_tracked > 0) for norm in fixed_norms(self))

    @torch.no_grad()
    def calibrate(self, photos: Tensor) -> None:
        """Fix the statistics to those of `photos` (N, in_channels, S, S), unless they are fixed already.

        One forward pass: each norm layer in turn takes the statistics of its input, then uses them.
        """
        if self.calibrated:
            return
        if photos.shape[0] == 0:
            raise ValueError("photos is empty: statistics need at least one photo")
        hooks = [
            norm.register_forward_pre_hook(lambda norm, inputs: norm.measure(*inputs)) for norm in fixed_norms(self)
        ]
        try:
            self(photos)
        finally:
            for hook in hooks:
                hook.remove()


class ConvEmbedding(nn.Module):
    """Photos (B, `in_channels`, S, S) in [-1, 1], S at least 17 -> (B, `features`): small and fast.

    Four 3x3 convolutions of stride 2 with group norm; the result is averaged over each quadrant, so that the
    layout of a photo counts, and normalised to mean square one before the Linear: at the start the entries of
    an embedding have mean square one too. The activation is a centred ReLU, (relu(x) - mean) / std under a
    standard normal x: a plain ReLU gives all photos a common mean that the next layers amplify until their
    embeddings look alike.
    """

    GROUPS = 8
    RELU_MEAN = (2 * math.pi) ** -0.5
    RELU_STD = (0.5 - 0.5 / math.pi) ** 0.5

    def __init__(self, features: int = 512, in_channels: int = 3, width: int = 32):
        super().__init__()
        if width < 1 or width % self.GROUPS:
            raise ValueError(f"width must be a multiple of {self.GROUPS}, got {width}")
        self.in_channels = in_channels
        widths = [in_channels, width, 2 * width, 4 * width, 4 * width]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(self.GROUPS, channels) for channels in widths[1:])
        self.pooled_norm = nn.LayerNorm(4 * widths[-1], elementwise_affine=False)
        self.projection = nn.Linear(4 * widths[-1], features)
        nn.init.normal_(self.projection.weight, std=self.projection.in_features**-0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, photos: Tensor) -> Tensor:
        _check_photos(photos, self.in_channels)
        if min(photos.shape[2:]) < 17:
            height, width = photos.shape[2:]
            raise ValueError(f"photos are {height}x{width}, the embedding needs at least 17x17")
        x = photos
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = norm(conv((F.relu(x) - self.RELU_MEAN) / self.RELU_STD if i else x))
        quadrants = [part for half in x.tensor_split(2, dim=2) for part in half.tensor_split(2, dim=3)]
        pooled = torch.cat([part.mean(dim=(2, 3)) for part in quadrants], dim=1)
        return self.projection(self.pooled_norm(pooled))


class InstanceEmbedding(nn.Module):
    """Photos (B, `in_channels`, S, S) in [-1, 1] -> (B, `features`): instance features that never train, then one Linear.

    kind: 'contrastive', of a small net that `calibrate` trains on photos, or a published network's, 'resnet50' for one,
    whose file is `weights`; without a file it is at random, to be loaded. Photos are seen at `size` pixels. The features
    are brought to mean 0 and mean square 1 over the photos of `calibrate`. At the start the embedding's entries have mean
    square 1, and half of that is one part that all photos share: with nothing shared each photo's weights learn alone, as
    fast as all of them together, and a photo is lost now and then. Data Instance Prior (Mangla et al. 2022) in the place
    of Meta Internal Learning's ResNet.
    """

    CALIBRATION_PHOTOS = 2048  # at most
    STEPS = 200  # of contrastive training

    def __init__(self, kind: str, features: int, in_channels: int, size: int, weights: str | os.PathLike | None = None):
        super().__init__()
        self.in_channels = in_channels
        self.prior = StandardFeatures(kind, in_channels, size, weights)
        self.projection = nn.Linear(self.prior.width, features)
        nn.init.normal_(self.projection.weight, std=(2 * self.prior.width) ** -0.5)
        nn.init.normal_(self.projection.bias, std=0.5**0.5)

    def forward(self, photos: Tensor) -> Tensor:
        _check_photos(photos, self.in_channels)
        return self.projection(self.prior(photos))

    @torch.no_grad()
    def calibrate(self, photos: Tensor) -> None:
        """Learn the features from `photos` (N, in_channels, S, S) where they are, and measure them; once."""
        if self.prior.spread > 0:
            return
        if self.prior.instance.kind == CONTRASTIVE:
            with torch.enable_grad():
                pixels = to_uint8(resize(photos, (self.prior.instance.size,) * 2))
                self.prior.instance = train_contrastive(pixels, self.prior.width, self.STEPS)
        self.prior.measure(photos)


def build_embedding(
    name: str, features: int = 512, in_channels: int = 3, weights: str | os.PathLike | None = None, size: int = 128
) -> nn.Module:
    """The embedding called `name`: one of EMBEDDINGS; `weights` is the file of a published network.

    'resnet18', 'resnet34', 'resnet50' and 'conv' train; 'contrastive' and 'frozen-resnet18', ... 'frozen-vgg16' are
    `InstanceEmbedding`s of photos of `size` pixels.
    """
    if name not in EMBEDDINGS:
        raise InputError(f"unknown embedding {name!r}: choose one of {', '.join(EMBEDDINGS)}")
    if weights is not None and name in ("conv", CONTRASTIVE):
        raise InputError(f"the embedding {name!r} has no published weights: drop {weights} or use a resnet")
    if name == "conv":
        return ConvEmbedding(features, in_channels)
    if name.startswith("resnet"):
        return ResNetEmbedding(int(name.removeprefix("resnet")), features, in_channels, weights)
    return InstanceEmbedding(name.removeprefix("frozen-"), features, in_channels, size, weights)


def _check_photos(photos: Tensor, in_channels: int) -> None:
    if photos.dim() != 4 or photos.shape[1] != in_channels:
        raise ValueError(f"photos has shape {tuple(photos.shape)}, expected (B, {in_channels}, S, S)")

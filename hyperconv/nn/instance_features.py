"""Instance features: what a frozen network sees in an image, as one vector of length 1.

Data Instance Prior (Mangla et al., WACV 2022) and IC-GAN (Casanova et al., NeurIPS 2021) condition a GAN on them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from itertools import pairwise
from os import PathLike
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.images import resize, with_channels
from hyperconv.data.weights import imagenet_scaling, read_state_dict
from hyperconv.errors import InputError
from hyperconv.metrics.inception_v3 import CLASSES, SIDE, WIDTH, InceptionV3, published_inception
from hyperconv.nn.resnet import BLOCKS, ResNet, published_resnet
from hyperconv.nn.vgg import VGG16, published_vgg16

PUBLISHED_SIZE = 224  # pixels that published networks are trained on
CONTRASTIVE, CONTRASTIVE_WIDTH = "contrastive", 128
INCEPTION = "inception-"  # and the variant
PUBLISHED = (*(f"resnet{depth}" for depth in BLOCKS), "vgg16")
KINDS = (CONTRASTIVE, *PUBLISHED, *(f"{INCEPTION}{variant}" for variant in CLASSES.values()))


class ContrastiveNet(nn.Module):
    """Images (B, `channels`, `size`, `size`) -> (B, `width`): a small net for `hyperconv.nn.contrast` to train.

    3x3 convolutions with group norm and ReLU halve the image down to 4x4 places, which one Linear reads.
    """

    GROUPS, FIRST, MOST, LAST_SIDE = 8, 32, 128, 4

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        halvings = max(1, math.ceil(math.log2(size / self.LAST_SIDE)))
        strides = [1, *[2] * halvings] if size <= 16 else [2] * halvings
        widths = [channels, *(min(self.FIRST * 2**i, self.MOST) for i in range(len(strides)))]
        self.convs = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, stride, padding=1, bias=False), nn.GroupNorm(self.GROUPS, b), nn.ReLU()
                )
                for (a, b), stride in zip(pairwise(widths), strides)
            )
        )
        self.projection = nn.Linear(widths[-1] * self.LAST_SIDE**2, width)

    def forward(self, images: Tensor) -> Tensor:
        x = self.convs(images)
        if x.shape[-1] != self.LAST_SIDE:
            x = F.adaptive_avg_pool2d(x, self.LAST_SIDE)
        return self.projection(x.flatten(1))


class InstanceFeatures(nn.Module):
    """Images (N, 1 or 3, H, W) in [-1, 1] -> features (N, `width`) of length 1, float32, from a network that never trains.

    Images are brought to `size` x `size` pixels (Inception resizes them itself) and to the channels the network takes.
    Its weights are buffers: they are in the state_dict and move with `.to`, and no optimizer finds them; images may have
    gradients.

    kind: one of KINDS. name: of the features, for tables, where a file made them with the beginning of its SHA-256.
    Made by `from_file`, by `hyperconv.nn.contrast.train_contrastive`, or of what `to_tensors` kept.
    """

    def __init__(self, net: nn.Module, kind: str, name: str, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.kind, self.name, self.width, self.channels, self.size = kind, name, width, channels, size
        self.net = frozen(net)
        for buffer in ("input_scale", "input_shift"):
            self.register_buffer(buffer, None, persistent=False)
        self.register_load_state_dict_post_hook(_fill_scaling)
        _fill_scaling(self)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.raw(images), dim=1)

    def raw(self, images: Tensor) -> Tensor:
        """The features as the network has them, of any length: what published scores of distributions are taken of."""
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images must be (N, 1 or 3, H, W), got {tuple(images.shape)}")
        pixels = with_channels(images, self.channels).float()
        if not self.kind.startswith(INCEPTION):
            pixels = resize(pixels, (self.size, self.size))
        return self.net(pixels * self.input_scale + self.input_shift)

    @torch.no_grad()
    def of_all(self, images: Tensor, chunk: int = 128, raw: bool = False) -> Tensor:
        """Features (N, `width`) of many images, `chunk` at a time: float as for `forward`, or uint8 0 to 255."""
        features, device = self.raw if raw else self, self.input_scale.device
        parts = (part.to(device) for part in images.split(chunk))
        return torch.cat([features(part if part.is_floating_point() else part / 127.5 - 1) for part in parts])

    @classmethod
    def from_file(cls, path: str | PathLike, size: int = PUBLISHED_SIZE) -> InstanceFeatures:
        """A published network's: of a ResNet of 18, 34 or 50 layers and of Inception v3 the last average, of VGG16 fc7.

        path: a state_dict with torchvision's names, .pth or .safetensors, a checkpoint of MoCo or SwAV, or pytorch-fid's
        Inception, whose features FID is of. size: pixels that images are brought to, but 299 of Inception. InputError
        where the file is no such network.
        """
        path = Path(path)
        state = read_state_dict(path)
        if any(key.endswith("features.0.weight") for key in state):
            net, kind = published_vgg16(state, path), "vgg16"
        elif any(key.startswith("Mixed_") for key in state):
            net, variant = published_inception(state, path)
            kind, size = f"{INCEPTION}{variant}", SIDE
        else:
            net = published_resnet(state, path)
            kind = f"resnet{net.depth}"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        return cls(net, kind, f"{kind}, {path.name} ({digest}), {size} px", width_of(kind), 3, size)

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything that `from_tensors` needs, by name: for the file of a run."""
        about = {
            "kind": self.kind,
            "name": self.name,
            "width": self.width,
            "channels": self.channels,
            "size": self.size,
        }
        text = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)
        return {"about": text, **{f"net.{key}": value for key, value in self.net.state_dict().items()}}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> InstanceFeatures:
        """What `to_tensors` gave. InputError where it is something else."""
        try:
            about = json.loads(bytes(tensors["about"].tolist()))
            state = {key.removeprefix("net."): value for key, value in tensors.items() if key.startswith("net.")}
            with torch.device("meta"):
                net = build_net(about["kind"], about["width"], about["channels"], about["size"])
            net.load_state_dict(state, assign=True)
            return cls(net, **about)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"these are not the tensors of instance features ({reason})") from None


def _fill_scaling(features: InstanceFeatures, incompatible_keys: object = None) -> None:
    """A state_dict does not hold the scaling of pixels: it is filled when one is loaded, where the network then is."""
    with torch.device("cpu"):
        scaling = imagenet_scaling() if features.kind in PUBLISHED else (torch.ones(1), torch.zeros(1))
    device = next(features.net.buffers()).device
    features.input_scale, features.input_shift = (values.to(device) for values in scaling)


class StandardFeatures(nn.Module):
    """Instance features, moved and scaled to mean 0 and mean square 1 over some photos: (N, C, S, S) -> (N, `width`).

    kind: 'contrastive', which `calibrate` trains on those photos, or a published network's, from the file `weights`, or at
    random where its state is loaded next. Everything is in the state_dict, nothing trains.
    """

    def __init__(self, kind: str, channels: int, size: int, weights: str | PathLike | None = None) -> None:
        super().__init__()
        if weights is not None:
            self.instance = InstanceFeatures.from_file(weights, size)
            if self.instance.kind != kind:
                raise InputError(f"{weights} holds a {self.instance.kind}, and the embedding is to be of a {kind}")
        else:
            channels, width = (channels, CONTRASTIVE_WIDTH) if kind == CONTRASTIVE else (3, width_of(kind))
            self.instance = InstanceFeatures(build_net(kind, width, channels, size), kind, kind, width, channels, size)
        self.width = self.instance.width
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("spread", torch.zeros(()))  # until they are measured

    def forward(self, photos: Tensor) -> Tensor:
        return (self.instance(photos) - self.mean) / self.spread

    @torch.no_grad()
    def measure(self, photos: Tensor) -> None:
        features = self.instance.of_all(photos)
        self.mean.copy_(features.mean(0))
        self.spread.copy_((features - self.mean).square().mean().sqrt().clamp(min=1e-6))


def build_net(kind: str, width: int, channels: int, size: int) -> nn.Module:
    """The network of a kind, at random; width, channels and size are those of the contrastive one."""
    if kind == CONTRASTIVE:
        return ContrastiveNet(channels, size, width)
    if kind.startswith(INCEPTION):
        return InceptionV3(kind.removeprefix(INCEPTION))
    return VGG16() if kind == "vgg16" else ResNet(int(kind.removeprefix("resnet")))


def width_of(kind: str) -> int:
    """Features of a published network."""
    if kind.startswith(INCEPTION):
        return WIDTH
    return 4096 if kind == "vgg16" else 2048 if kind == "resnet50" else 512


def frozen(net: nn.Module) -> nn.Module:
    """The network itself with buffers in place of its parameters."""
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return net

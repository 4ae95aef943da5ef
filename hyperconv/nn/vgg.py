"""VGG16 (Simonyan and Zisserman 2015) up to fc7, the features of Data Instance Prior and of improved precision and recall."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.weights import check_state, without_prefix
from hyperconv.nn.conv import SharedConv2d

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels between poolings
LAST = "classifier.6."  # the 1000 classes


class VGG16(nn.Module):
    """(B, 3, H, W) -> (B, 4096): the second layer of 4,096 behind its ReLU; images of 224 px as published.

    The state_dict has torchvision's names without the last layer. Images of other sizes are averaged to 7x7 places
    before the first layer of 4,096, as torchvision's are.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage in STAGES:
            for channels, following in pairwise((before, *stage)):
                layers += [SharedConv2d(channels, following, 3, padding=1), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            before = stage[-1]
        self.features = nn.Sequential(*layers)
        dropout = nn.Identity()  # of training
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), dropout, nn.Linear(4096, 4096), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 7).flatten(1))


def published_vgg16(state: dict[str, Tensor], path: Path) -> VGG16:
    """The net whose state_dict, read from `path`, has torchvision's names. InputError where it is another."""
    own = without_prefix(state, "features.0.weight")
    state = {key: value for key, value in own.items() if not key.startswith(LAST)}
    with torch.device("meta"):  # 134 million numbers need no other start
        net = VGG16()
    check_state(path, "VGG16", state, net.state_dict())
    net.load_state_dict(state, assign=True)
    return net

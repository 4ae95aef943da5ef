"""A small collection of synthetic photos and a configuration that trains in seconds."""

import math

import pytest
import torch

from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo
from hyperconv.gan.presets import preset


def picture(index: int, height: int, width: int) -> Photo:
    """Smooth coloured stripes, different for each index."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = [torch.sin(2 * math.pi * ((index + 1) * x + (c + 1) * y) + index) for c in range(3)]
    return Photo(f"picture{index}", torch.stack(waves) * 0.8, None, [])


@pytest.fixture
def config():
    return preset(
        "tiny",
        max_size=32,
        min_size=16,
        scale_count=3,
        hidden=8,
        features=8,
        iterations=(20,),
        batch_size=2,
        embedding_size=32,
    )


@pytest.fixture
def collection(config):
    """Three photos of different aspect ratios."""
    photos = [picture(0, 48, 64), picture(1, 64, 40), picture(2, 50, 50)]
    return Collection(photos, config.pyramid())

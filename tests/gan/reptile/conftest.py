"""Small Reptile-GANs of every kind, in float64, and what they draw from."""

import sys
from pathlib import Path

import pytest
import torch

from hyperconv.data.domains import Domains
from hyperconv.gan.presets import preset
from hyperconv.gan.reptile.draws import Draw, Draws
from hyperconv.gan.reptile.system import ReptileGAN

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # for benchmarks/

SMALL = {
    "image_size": 16,
    "latent": 6,
    "hidden": 4,
    "batch_size": 5,
    "anti_batch_size": 5,
    "inner_steps": 3,
    "tasks": 3,
    "iterations": (4,),
    "learning_rate": 0.01,
}
KINDS = ["tiny", "tiny-2mlp", "tiny-wgan", "tiny-wgan-2mlp"]


@pytest.fixture(scope="session")
def domains():
    """Four domains of noisy stripes: 2, 3, 5 and 7 images."""
    source = torch.Generator().manual_seed(0)
    stripes = [torch.full((16,), 40).index_fill_(0, torch.arange(0, 16, step), 210) for step in (2, 3, 4, 5)]
    return Domains(
        {
            f"stripes-{i}": (
                line.expand(count, 1, 16, 16) + torch.randint(0, 40, (count, 1, 16, 16), generator=source)
            ).to(torch.uint8)
            for i, (line, count) in enumerate(zip(stripes, (2, 3, 5, 7)))
        }
    )


@pytest.fixture
def make(domains):
    """make(kind, **changes) -> a GAN in float64, far enough from its start that nothing is symmetric."""

    def gan(kind, **changes):
        config = preset(kind, "reptile", **{**SMALL, **changes})
        made = ReptileGAN(config, domains.channels)
        source = torch.Generator().manual_seed(1)
        made.weights = {
            name: flat.double() + 0.05 * torch.randn(flat.shape, generator=source, dtype=torch.float64)
            for name, flat in made.weights.items()
        }
        made.statistics = {name: value.double() for name, value in made.statistics.items()}
        return made

    return gan


class DoubleDraws(Draws):
    """Draws in float64."""

    def next(self):
        return Draw(*(values.double() for values in super().next()))

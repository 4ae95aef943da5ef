"""Small GANs with a Data Instance Prior, and digits to train them on."""

import pytest

from hyperconv.data.domain_files import load_digits
from hyperconv.data.domains import Domains
from hyperconv.gan.presets import preset

SMALL = {
    "embedding": 6,
    "latent": 8,
    "hidden": 8,
    "critic_hidden": 8,
    "most_channels": 16,
    "mapping": 2,
    "feature_width": 10,
    "feature_steps": 3,
    "batch_size": 8,
    "critic_steps": 2,
    "iterations": (12,),
}
KINDS = ["tiny", "tiny-biggan", "tiny-stylegan2"]


@pytest.fixture(scope="session")
def digits():
    """Thirty zeros and twenty ones, of 8 px."""
    all_digits = load_digits(8)
    some = {"0": 30, "1": 20}
    parts = dict(zip(all_digits.names, all_digits.pixels.split(all_digits.counts.tolist())))
    return lambda: Domains({name: parts[name][:count] for name, count in some.items()})


@pytest.fixture
def make():
    """make(kind, **changes) -> a configuration."""
    return lambda kind="tiny", **changes: preset(kind, "dip", **{**SMALL, **changes})

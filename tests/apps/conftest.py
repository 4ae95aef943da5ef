"""One tiny run on three real photos, trained for a few steps."""

import pytest

from hyperconv.apps.model import Model
from hyperconv.apps.train import train
from hyperconv.data.examples import load_examples

QUICK = {
    "max_size": 32,
    "min_size": 16,
    "scale_count": 3,
    "hidden": 8,
    "features": 8,
    "embedding_size": 32,
    "iterations": (12, 4),
}


@pytest.fixture(scope="session")
def quick():
    return dict(QUICK)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a run on china, coffee (both wide) and astronaut (square)."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(load_examples(["china", "coffee", "astronaut"]), folder, device="cpu", **QUICK)
    return folder


@pytest.fixture(scope="session")
def model(trained):
    return Model.open(trained, "cpu")


@pytest.fixture(scope="session")
def flower():
    """A photo the run never saw."""
    (photo,) = load_examples(["flower"])
    return photo

"""Tiny runs of every system on real photos, trained for a few steps."""

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
QUICK_SINGLE = {"max_size": 40, "min_size": 16, "scale_count": 3, "hidden": 8, "iterations": (3,), "device": "cpu"}


@pytest.fixture(scope="session")
def quick():
    return dict(QUICK)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a meta-GAN's run on china, coffee (both wide) and astronaut (square)."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(load_examples(["china", "coffee", "astronaut"]), folder, device="cpu", **QUICK)
    return folder


@pytest.fixture(scope="session")
def model(trained):
    return Model.open(trained, "cpu")


@pytest.fixture(scope="session")
def singles(tmp_path_factory):
    """singles(system, preset) -> the opened run of such GANs on china and astronaut."""
    opened = {}

    def run(system: str, preset: str = "tiny") -> Model:
        if (system, preset) not in opened:
            folder = tmp_path_factory.mktemp(system) / "run"
            train(load_examples(["china", "astronaut"]), folder, preset, system=system, **QUICK_SINGLE)
            opened[system, preset] = Model.open(folder, "cpu")
        return opened[system, preset]

    return run


@pytest.fixture(params=["meta", "consingan", "singan"])
def any_model(request, model, singles):
    """A run of each system in turn; all know china (wide) and astronaut (square)."""
    return model if request.param == "meta" else singles(request.param)


@pytest.fixture(scope="session")
def flower():
    """A photo the run never saw."""
    (photo,) = load_examples(["flower"])
    return photo

"""Tests of the operator and of training on a CUDA GPU; without one they are skipped."""

from pathlib import Path

import pytest
import torch

import hyperconv


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason=f"torch {torch.__version__} sees no CUDA GPU")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(skip)


@pytest.fixture
def device() -> str:
    return "cuda"


def by(name: str):
    """Runs a test with one backend, backward passes too; skips it with the reason where that does not run."""
    reason = hyperconv.backends()[name]["cuda"]
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    with hyperconv.use_backend(name):
        yield name


@pytest.fixture(params=["reference", "native", "triton"])
def backend(request):
    """Every backend in turn."""
    yield from by(request.param)


@pytest.fixture(params=["native", "triton"])
def own_kernels(request):
    """The backends with kernels of this package."""
    yield from by(request.param)


@pytest.fixture(autouse=True)
def exact_float32():
    """float32 means float32 in the comparisons; the tests of TF32 switch it on themselves."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before

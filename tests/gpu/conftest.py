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


@pytest.fixture(params=["reference", "native"])
def backend(request):
    """Forward runs with each backend; the native library is skipped only where nothing could build it."""
    reason = hyperconv.backends()[request.param]["cuda"]
    if reason is not None and "not built" in reason:
        pytest.skip(f"{request.param}: {reason}")
    assert reason is None, reason
    with hyperconv.use_backend(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def exact_float32():
    """float32 means float32 in the comparisons; the tests of TF32 switch it on themselves."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before

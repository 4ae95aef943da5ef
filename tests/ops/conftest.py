import os

import pytest
import torch

from hyperconv.ops.backends import backends, use_backend


@pytest.fixture(params=["reference", "native", "triton"])
def backend(request):
    """Run the test with each backend; `triton` in its interpreter, where a call takes tenths of a second."""
    yield from backend_or_failure(request.param)


@pytest.fixture(params=["reference", "native"])
def quick_backend(request):
    """Run the test with each backend that is quick on a CPU; `test_triton_*.py` does the same for the other."""
    yield from backend_or_failure(request.param)


@pytest.fixture
def native_backend():
    yield from backend_or_failure("native")


@pytest.fixture
def triton_backend():
    yield from backend_or_failure("triton")


def backend_or_failure(name):
    """A backend that does not run on the CPU fails the test, unless that was announced or it runs on a GPU."""
    reason = backends()[name]["cpu"]
    if name == "native" and reason and os.environ.get("HYPERCONV_ALLOW_NO_NATIVE") == "1":
        pytest.skip(f"HYPERCONV_ALLOW_NO_NATIVE=1 and {reason}")
    if name == "triton" and torch.cuda.is_available():
        pytest.skip("Triton's kernels are compiled for the GPU that is here, not interpreted")
    assert reason is None, reason
    with use_backend(name):
        yield name

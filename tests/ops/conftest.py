import os

import pytest

from hyperconv.ops.backends import backends, use_backend


@pytest.fixture(params=["reference", "native"])
def backend(request):
    """Run the test with each backend."""
    yield from backend_or_failure(request.param)


@pytest.fixture
def native_backend():
    yield from backend_or_failure("native")


def backend_or_failure(name):
    """A native library that is absent fails the test, unless that was announced."""
    reason = backends()[name]["cpu"]
    if reason and os.environ.get("HYPERCONV_ALLOW_NO_NATIVE") == "1":
        pytest.skip(f"HYPERCONV_ALLOW_NO_NATIVE=1 and {reason}")
    assert reason is None, reason
    with use_backend(name):
        yield name

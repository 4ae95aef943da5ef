import os

import pytest
import torch

from hyperconv.ops.backends import backends, use_backend


@pytest.fixture(params=["reference", "native", "triton"])
def backend(request, monkeypatch):
    """Run the test with each backend; `triton` in its interpreter, where a call takes tenths of a second."""
    if request.param == "triton":
        round_bfloat16(monkeypatch)
    yield from backend_or_failure(request.param)


@pytest.fixture(params=["reference", "native"])
def quick_backend(request):
    """Run the test with each backend that is quick on a CPU; `test_triton_*.py` does the same for the other."""
    yield from backend_or_failure(request.param)


@pytest.fixture
def native_backend():
    yield from backend_or_failure("native")


@pytest.fixture
def triton_backend(monkeypatch):
    round_bfloat16(monkeypatch)
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


def round_bfloat16(monkeypatch):
    """float32 to bfloat16 in Triton's interpreter to the nearest, as on a GPU: on its own it cuts the digits off."""
    interpreter = pytest.importorskip("triton.runtime.interpreter", reason="Triton is not installed")
    builder, language = interpreter.InterpreterBuilder, interpreter.tl
    convert = builder.create_fp_trunc

    def rounded(self, values, kind):
        if (values.dtype.scalar, kind.scalar) != (language.float32, language.bfloat16):
            return convert(self, values, kind)
        data = torch.from_numpy(values.data).bfloat16().view(torch.uint16).numpy()
        return interpreter.TensorHandle(data, kind.scalar)

    monkeypatch.setattr(builder, "create_fp_trunc", rounded)

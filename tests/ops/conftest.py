import os

import pytest
import torch

from hyperconv.ops.backends import backends, use_backend


@pytest.fixture(params=["reference", "native", "triton"])
def backend(request, monkeypatch):
    """Run the test with each backend; `triton` in its interpreter, where a call takes tenths of a second."""
    if request.param == "triton":
        repair_interpreter(monkeypatch)
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
    repair_interpreter(monkeypatch)
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


def repair_interpreter(monkeypatch):
    """Triton's interpreter as a GPU: float32 to bfloat16 rounds to the nearest, where it would cut the digits off.

    And Triton 3.6 takes the bounds of a loop out of its tensors in a way that NumPy 2.4 no longer has.
    """
    interpreter = pytest.importorskip("triton.runtime.interpreter", reason="Triton is not installed")
    builder, language = interpreter.InterpreterBuilder, interpreter.tl
    convert, patch = builder.create_fp_trunc, interpreter._patch_lang_tensor

    def rounded(self, values, kind):
        if (values.dtype.scalar, kind.scalar) != (language.float32, language.bfloat16):
            return convert(self, values, kind)
        data = torch.from_numpy(values.data).bfloat16().view(torch.uint16).numpy()
        return interpreter.TensorHandle(data, kind.scalar)

    def patch_with_index(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    monkeypatch.setattr(builder, "create_fp_trunc", rounded)
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", patch_with_index)

"""Which backend runs, how it is asked for, and what is said where it cannot."""

import logging
import os
import subprocess
import sys
import threading

import pytest
import torch

import hyperconv
from hyperconv import backends, hyper_conv2d, use_backend
from hyperconv.ops import cpu_rule, reference
from hyperconv.ops.backends import choose, requested


@pytest.fixture
def reference_calls(monkeypatch):
    """Names of the reference's functions, as they are called."""
    calls = []
    for name in ("conv2d", "input_gradient", "weight_gradient"):
        compute = getattr(reference, name)
        spy = lambda *args, name=name, compute=compute: calls.append(name) or compute(*args)
        monkeypatch.setattr(reference, name, spy)
    return calls


def arguments(requires_grad=False):
    return torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3, 3, requires_grad=requires_grad)


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", f"import torch, hyperconv\n{code}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def test_backends_says_what_runs_and_why_not():
    found = backends()
    assert list(found) == ["native", "triton", "reference"]
    assert found["reference"]["cpu"] is None
    assert "reference  cpu   runs" in str(found)
    if not torch.cuda.is_available():
        assert "triton     cuda  does not run: " in str(found)
        assert "no CUDA GPU" in found["triton"]["cuda"]
        assert "no CUDA GPU" in found["reference"]["cuda"]
        assert found["native"]["cuda"]


def test_use_backend_nests_and_ends(reference_calls):
    with use_backend("reference"):
        with use_backend("auto"):
            assert requested() == "auto"
        assert requested() == "reference"
        hyper_conv2d(*arguments())
    assert reference_calls == ["conv2d"]
    assert requested() == os.environ.get("HYPERCONV_BACKEND", "auto")


def test_use_backend_holds_for_a_backward_pass_inside(reference_calls, native_backend):
    input, weight = arguments(requires_grad=True)
    output = hyper_conv2d(input, weight)
    assert reference_calls == []
    with use_backend("reference"):
        output.sum().backward()
    assert reference_calls == ["weight_gradient"]


def test_use_backend_ends_with_an_error():
    before = requested()
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert requested() == before


def test_contexts_of_several_threads_end_in_any_order():
    """The last entered of those still open decides, whoever leaves first."""
    before = requested()
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def other():
        with use_backend("reference"):
            entered.set()
            leave.wait(10)
        left.set()

    thread = threading.Thread(target=other)
    with use_backend("native"):
        thread.start()
        entered.wait(10)
        assert requested() == "reference"
        leave.set()
        left.wait(10)
        assert requested() == "native"
    thread.join()
    assert requested() == before


def test_unknown_name():
    with (
        pytest.raises(ValueError, match="'fast'; choose one of native, triton, reference or auto"),
        use_backend("fast"),
    ):
        pass


def test_backend_that_cannot_run_says_why():
    code = (
        "with hyperconv.use_backend('triton'):\n"
        "    hyperconv.hyper_conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 1, 1, 1))"
    )
    failed = python(code, TRITON_INTERPRET="0")
    assert failed.returncode != 0
    assert "RuntimeError: backend 'triton' cannot run conv2d on cpu: Triton" in failed.stderr


def test_auto_never_takes_the_interpreter():
    with use_backend("auto"):
        assert choose("bias_gradient", torch.zeros(2, 3, 4, 4), None, 1, 0.0) is not hyperconv.ops.backends.kernels


def test_environment_sets_the_default():
    code = "print(hyperconv.ops.backends.requested())"
    assert python(code, HYPERCONV_BACKEND="reference").stdout.strip() == "reference"
    assert python(code, HYPERCONV_BACKEND="").stdout.strip() == "auto"


def test_unknown_name_in_the_environment():
    code = "hyperconv.hyper_conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 1, 1, 1))"
    failed = python(code, HYPERCONV_BACKEND="fast")
    assert failed.returncode != 0
    assert "HYPERCONV_BACKEND is 'fast'; choose one of native, triton, reference or auto" in failed.stderr


def test_auto_takes_native_where_it_runs(native_backend):
    with use_backend("auto"):
        assert choose("bias_gradient", torch.zeros(2, 3, 4, 4), None, 1, 0.0) is hyperconv.ops.backends.native


def test_choice_is_logged_once(caplog):
    hyperconv.ops.backends._log.cache_clear()
    with caplog.at_level(logging.DEBUG, "hyperconv.ops.backends"), use_backend("reference"):
        hyper_conv2d(*arguments())
        hyper_conv2d(*arguments())
    assert [record.message for record in caplog.records] == ["conv2d on cpu: reference"]


def test_import_is_cheap_and_finds_the_kernels():
    code = (
        "import sys, hyperconv.kernels\n"
        "heavy = {'skimage', 'sklearn', 'typer', 'rich', 'PIL', 'triton'}\n"
        "print(*heavy & set(sys.modules), hyperconv.kernels.__name__)"
    )
    ran = python(code)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[-1] == "hyperconv.kernels"
    assert ran.stdout.split()[:-1] in ([], ["triton"])  # torch itself may import triton


def test_public_names():
    assert set(hyperconv.__all__) >= {
        "hyper_conv2d",
        "HyperConv2d",
        "WeightLayout",
        "backends",
        "use_backend",
    }
    assert all(hasattr(hyperconv, name) for name in hyperconv.__all__)


WIDE = torch.zeros(2, 64, 22, 22)


def call_of(operation, weight, stride=1, input=WIDE):
    """A call's arguments with padding 1."""
    geometry = ((stride, stride), (1, 1), (1, 1), 1)
    sides = [1 + (side + 2 - k) // stride for side, k in zip(input.shape[2:], weight.shape[3:])]
    grad = torch.zeros(len(input), weight.shape[1], *sides)
    return {
        "conv2d": (input, weight, None, *geometry, 0, 0.0),
        "masked_conv2d": (input, weight, None, None, *geometry, 0.0),
        "input_gradient": (grad, weight, None, input.shape[2:], *geometry, 0.0),
        "weight_gradient": (grad, input, None, 2, weight.shape[3:], *geometry, 0.0),
        "parameter_gradients": (grad, input, None, 2, weight.shape[3:], *geometry, 0.0),
    }[operation]


@pytest.mark.parametrize("operation", ["conv2d", "masked_conv2d", "input_gradient", "weight_gradient",
                                       "parameter_gradients"])
def test_wide_layers_that_neither_winograd_nor_columns_serve_go_to_torch(operation):
    def choice(*shape, **options):
        return cpu_rule.choice(operation, call_of(operation, torch.zeros(2, *shape), **options))

    assert choice(64, 64, 3, 3) == "native"
    assert choice(64, 64, 3, 3, stride=2, input=torch.zeros(2, 64, 25, 25)) == "reference"
    assert choice(64, 64, 4, 4) == "reference"
    of_weights = "weight" in operation or "parameter" in operation
    assert choice(64, 64, 1, 1) == ("reference" if of_weights else "native")
    assert choice(16, 64, 4, 4, stride=2, input=torch.zeros(2, 64, 32, 32)) == "native"
    shared = choice(16, 64, 4, 4, stride=2, input=torch.zeros(40, 64, 8, 8))
    assert shared == ("reference" if of_weights else "native")
    large = {"input": torch.zeros(2, 64, 64, 64)}
    assert choice(64, 64, 4, 4, stride=2, **large) == choice(64, 64, 5, 5, **large) == "native"
    assert choice(64, 64, 3, 3, stride=2, **large) == ("native" if operation == "input_gradient" else "reference")
    assert choice(64, 64, 9, 9, **large) == choice(64, 64, 4, 4, stride=3, **large) == "reference"


@pytest.mark.parametrize("operation", ["conv2d", "masked_conv2d", "input_gradient", "weight_gradient",
                                       "parameter_gradients"])
def test_few_pixels_under_wide_weights_go_to_native_columns(operation):
    def choice(*shape, **options):
        return cpu_rule.choice(operation, call_of(operation, torch.zeros(2, *shape), **options))

    for size in (2, 4):
        assert choice(64, 64, 3, 3, input=torch.zeros(2, 64, size, size)) == "native"
        assert choice(64, 64, 5, 5, input=torch.zeros(2, 64, 2 + size, 2 + size)) == "native"
        assert choice(128, 64, 4, 4, stride=2, input=torch.zeros(2, 64, 2 * size, 2 * size)) == "native"
    of_weights = "weight" in operation or "parameter" in operation
    assert choice(64, 64, 3, 3, input=torch.zeros(40, 64, 5, 5)) == ("reference" if of_weights else "native")
    assert choice(128, 64, 3, 3, stride=2, input=torch.zeros(2, 64, 16, 16)) == ("native" if of_weights else "reference")
    assert choice(128, 64, 3, 3, stride=2, input=torch.zeros(100, 64, 4, 4)) == "reference"
    shared = choice(64, 64, 3, 3, input=torch.zeros(40, 64, 4, 4))
    assert shared == ("reference" if of_weights or operation == "input_gradient" else "native")
    very_wide = choice(512, 512, 3, 3, input=torch.zeros(2, 512, 10, 10))
    assert very_wide == ("native" if of_weights else "reference")
    assert choice(512, 512, 3, 3, input=torch.zeros(2, 512, 7, 7)) == "native"

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
from hyperconv.ops import cpu_rule, native, reference
from hyperconv.ops.backends import choose, requested
from hyperconv.ops.schema import OPERATIONS


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


PRODUCTS = ["conv2d", "masked_conv2d", "input_gradient", "weight_gradient", "parameter_gradients"]


def choice(operation, weight, stride=1, input=(2, 64, 22, 22)):
    """Who computes a call whose weights and input have these shapes; padding 1."""
    return cpu_rule.choice(operation, call_of(operation, torch.zeros(weight), stride, torch.zeros(input)))


@pytest.mark.usefixtures("native_backend")
@pytest.mark.parametrize("operation", PRODUCTS)
def test_native_computes_where_it_saves_products_or_memory_traffic(operation):
    large = (2, 64, 64, 64)
    assert choice(operation, (2, 64, 64, 3, 3)) == "native"
    if native.instruction_set()[0] != "baseline":  # which rounds every product: larger tiles would err too much
        assert (
            choice(operation, (2, 64, 64, 4, 4), 2, large) == choice(operation, (2, 64, 64, 5, 5), 1, large) == "native"
        )
    assert choice(operation, (2, 1, 64, 3, 3)) == choice(operation, (2, 64, 3, 3, 3), 1, (2, 3, 22, 22)) == "native"
    for size in (2, 4):
        assert choice(operation, (2, 64, 64, 3, 3), 1, (2, 64, size, size)) == "native"
        assert choice(operation, (2, 64, 64, 5, 5), 1, (2, 64, 2 + size, 2 + size)) == "native"
        assert choice(operation, (2, 128, 64, 4, 4), 2, (2, 64, 2 * size, 2 * size)) == "native"
    assert choice(operation, (1, 256, 256, 3, 3), 1, (16, 256, 4, 4)) == "native"


@pytest.mark.usefixtures("native_backend")
@pytest.mark.parametrize("operation", PRODUCTS)
def test_many_products_that_native_does_not_save_go_to_torch(operation):
    by_input = "native" if operation == "input_gradient" else "reference"
    by_weight = "native" if operation in ("weight_gradient", "parameter_gradients") else "reference"
    assert choice(operation, (1, 128, 128, 3, 3), 2, (2, 128, 64, 64)) == by_input
    assert choice(operation, (2, 64, 64, 9, 9), 1, (2, 64, 64, 64)) == by_input
    assert choice(operation, (1, 256, 256, 3, 3), 1, (64, 256, 3, 3)) == by_weight
    assert choice(operation, (1, 64, 128, 7, 7), 1, (1, 128, 16, 16)) == by_weight


@pytest.mark.usefixtures("native_backend")
@pytest.mark.parametrize("operation", PRODUCTS)
def test_the_rule_reads_the_dispatchers_lists_as_tuples(operation):
    args = call_of(operation, torch.zeros(2, 64, 64, 3, 3), 2)
    lists = tuple(list(value) if isinstance(value, tuple) else value for value in args)
    assert cpu_rule.suits_native(operation, lists) == cpu_rule.suits_native(operation, args)


@pytest.mark.usefixtures("native_backend")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "weight", [(2, 64, 64, 3, 3), (2, 64, 64, 9, 9), (2, 64, 3, 3, 3), (2, 128, 64, 7, 7)], ids=str
)
@pytest.mark.parametrize("side", [16, 64])
def test_both_gradients_suit_native_where_each_does(weight, stride, side):
    weight, image = torch.zeros(weight), torch.zeros(2, weight[2], side, side)
    by_input, by_weight = (call_of(name, weight, stride, image) for name in ("input_gradient", "parameter_gradients"))
    each = cpu_rule.suits_native("input_gradient", by_input), cpu_rule.suits_native("parameter_gradients", by_weight)
    for geometry in (by_input[-5:], tuple(map(list, by_input[-5:-2])) + by_input[-2:]):
        assert cpu_rule.both_suit_native(by_input[0], image, weight, geometry) == all(each)


@pytest.mark.usefixtures("native_backend")
@pytest.mark.parametrize(
    ("layer", "ways"),
    [
        ((1, 64, 64, 32, 32, 32, 32, 3, 3, 1, 1), ["winograd"] * 3),
        ((1, 64, 1, 32, 32, 32, 32, 3, 3, 1, 1), ["planes", "pairs", "direct"]),
        ((1, 5, 64, 32, 32, 32, 32, 3, 3, 1, 1), ["pairs", "direct", "direct"]),
        ((1, 512, 512, 4, 4, 4, 4, 3, 3, 1, 1), ["columns"] * 3),
        ((16, 256, 256, 4, 4, 4, 4, 3, 3, 1, 1), ["winograd", "winograd", "columns"]),
        ((1, 64, 64, 94, 94, 32, 32, 3, 3, 3, 3), ["direct"] * 3),
    ],
)
def test_the_library_says_how_it_would_compute_a_layer(layer, ways):
    """Of samples of a weight set, channels, sizes of input and output, kernel and stride; padding 1."""
    assert [native.algorithm(product, (*layer, 1, 1, 1, 1)) for product in range(3)] == ways


@pytest.mark.usefixtures("native_backend")
@pytest.mark.parametrize("operation", PRODUCTS)
def test_a_stride_of_zero_is_left_to_the_kernels_to_refuse(operation):
    args = list(call_of(operation, torch.zeros(2, 64, 64, 3, 3)))
    args[-6 if operation == "conv2d" else -5] = (0, 0)
    assert cpu_rule.choice(operation, tuple(args)) == "native"
    with pytest.raises(RuntimeError, match="stride"):
        getattr(torch.ops.hyperconv, operation)(*args)


@pytest.mark.parametrize("device", ["MPS", "XPU", "PrivateUse1"])
def test_the_reference_computes_on_other_devices(device):
    """What such a device would run, given tensors that are here."""
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, device))
    input, weight = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3, 3)
    geometry = ((1, 1), (0, 0), (1, 1), 1)
    output = torch.ops.hyperconv.conv2d.default.redispatch(key, input, weight, None, *geometry, 0, 0.0)
    assert torch.equal(output, reference.conv2d(input, weight, None, *geometry, 0, 0.0))
    for name in OPERATIONS:
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"hyperconv::{name}", device)

"""Trust in Triton's kernels: what `auto` chooses on a GPU, what a check finds, and what is kept of it.

There is no GPU here: tensors of the CPU stand in for it, the kernels run in Triton's interpreter, and where only the
decision matters, a module with the reference's functions computes.
"""

import contextlib
import dataclasses
import json
import logging
import threading
import types
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv import kernels, use_backend
from hyperconv.kernels.arithmetic import ARITHMETICS, products_in
from hyperconv.ops import backends, ledger, reference, results, trust
from hyperconv.ops.backends import gpu_choice, implementation
from hyperconv.ops.classes import layer_of, shape_of
from hyperconv.ops.schema import OPERATIONS
from hyperconv.ops.specimen import specimens
from hyperconv.ops.trial import Outcome, Trial, attempt, read_as_tf32, variants

CPU = torch.device("cpu")
GRAD = (torch.zeros(2, 3, 6, 6), None, 2, 0.0)
SUM = "bias_gradient sum/bias/1/small/nchw float32"
interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the kernels are not interpreted")


def module(**functions):
    """A backend that is right, but for some functions."""
    return types.SimpleNamespace(**{name: getattr(reference, name) for name in OPERATIONS} | functions)


def twice(operation):
    return lambda *args: 2 * getattr(reference, operation)(*args)


@pytest.fixture(autouse=True)
def process(monkeypatch, tmp_path):
    """start(computes): as a new process on a machine whose GPU runs Triton by way of this module."""
    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backends, "_why_not", lambda name, operation, device: None)

    def start(computes=None):
        for owner, name, value in (
            (backends, "_decided", {}),
            (trust, "_verdicts", {}),
            (trust, "_warned", set()),
            (ledger, "_read", {}),
        ):
            monkeypatch.setattr(owner, name, value)
        ledger.setting.cache_clear()
        backends._log_class.cache_clear()
        monkeypatch.setattr(trust, "kernels", computes or module())

    start()
    yield start
    monkeypatch.undo()
    ledger.setting.cache_clear()


@pytest.fixture
def checks(monkeypatch):
    """Trials, as they are attempted."""
    made = []
    compute = trust.attempt
    monkeypatch.setattr(trust, "attempt", lambda *args: made.append(str(args[0])) or compute(*args))
    return made


def test_auto_takes_triton_once_it_is_checked(checks, caplog):
    with caplog.at_level(logging.INFO, "hyperconv.ops.backends"):
        assert [gpu_choice("bias_gradient", GRAD) for _ in range(3)] == ["triton"] * 3
    assert checks == [SUM]
    [record] = caplog.records
    assert record.levelno == logging.INFO
    for word in ("bias_gradient on cpu, class sum/bias/1/small/nchw in float32: triton", "just now", "error "):
        assert word in record.message


def test_each_class_dtype_and_operation_is_checked_on_its_own(checks):
    image = torch.zeros(2, 3, 9, 9)
    for dtype in (torch.float32, torch.float64):
        weight = torch.zeros(2, 4, 3, 3, 3, dtype=dtype)
        geometry = ((1, 1), (1, 1), (1, 1), 1)
        gpu_choice("conv2d", (image.to(dtype), weight, None, *geometry, 0, 0.0))
        gpu_choice("masked_conv2d", (image.to(dtype), weight, None, None, *geometry, 0.0))
    assert len(set(checks)) == len(checks) == 4


def test_without_kernels_the_reference(monkeypatch, checks, caplog):
    monkeypatch.setattr(backends, "_why_not", lambda name, *_: "no GPU" if name in ("triton", "native") else None)
    backends._without_kernels.cache_clear()
    with caplog.at_level(logging.INFO, "hyperconv.ops.backends"):
        assert gpu_choice("bias_gradient", GRAD) == "reference"
    assert checks == [] and "reference, as triton does not run: no GPU; native does not run: no GPU" in caplog.text
    backends._without_kernels.cache_clear()


@pytest.mark.parametrize(("right", "chosen"), [(True, "native"), (False, "reference")])
def test_without_triton_the_cuda_kernels_once_they_are_checked(monkeypatch, checks, right, chosen):
    monkeypatch.setattr(backends, "_why_not", lambda name, *_: "not installed" if name == "triton" else None)
    monkeypatch.setattr(trust, "native", module() if right else module(bias_gradient=twice("bias_gradient")))
    with contextlib.nullcontext() if right else pytest.warns(RuntimeWarning, match="the CUDA kernel: a wrong result"):
        assert [gpu_choice("bias_gradient", GRAD) for _ in range(2)] == [chosen] * 2
    assert checks == [SUM]
    assert ledger.recall(CPU, f"native {SUM}").passed is right and ledger.recall(CPU, SUM) is None


def test_what_was_measured_fastest_comes_first_and_kernels_are_checked(monkeypatch, checks, process):
    name = ("none", "float32", "bias_gradient", "sum/bias/1/small/nchw")
    monkeypatch.setitem(results.FASTEST, name, "reference")
    assert gpu_choice("bias_gradient", GRAD) == "reference" and checks == []
    process()
    monkeypatch.setitem(results.FASTEST, name, "native")
    monkeypatch.setattr(trust, "native", module())
    assert gpu_choice("bias_gradient", GRAD) == "native" and checks == [SUM]
    process()
    monkeypatch.setattr(backends, "_why_not", lambda name, *_: "not built" if name == "native" else None)
    assert gpu_choice("bias_gradient", GRAD) == "triton"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (twice("bias_gradient"), "a wrong result.*error .*PyTorch's own .*allowed"),
        (lambda *args: reference.bias_gradient(*args) * torch.nan, "values that are not finite"),
        (lambda *args: reference.bias_gradient(*args).bfloat16(), "dtype torch.bfloat16 instead of torch.float32"),
        (lambda *args: reference.bias_gradient(*args).t().contiguous().t(), "strides"),
        (lambda *args: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_a_mismatch_falls_back_loudly_once(process, wrong, words):
    process(module(bias_gradient=wrong))
    said = rf"bias_gradient of class sum/bias/1/small/nchw in float32 .*{words}.*hyperconv selftest"
    with pytest.warns(RuntimeWarning, match=said) as warned:
        assert gpu_choice("bias_gradient", GRAD) == "reference"
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gpu_choice("bias_gradient", GRAD) == "reference"
        assert gpu_choice("bias_gradient", (torch.zeros(2, 5, 7, 7), None, 1, 0.0)) == "reference"


def test_a_wrong_operation_does_not_condemn_the_others(process):
    process(module(bias_gradient=twice("bias_gradient")))
    geometry = ((1, 1), (1, 1), (1, 1), 1, 0, 0.0)
    assert gpu_choice("conv2d", (torch.zeros(1, 3, 5, 5), torch.zeros(1, 1, 3, 3, 3), None, *geometry)) == "triton"


def test_an_outcome_is_kept_for_the_next_process(process, checks):
    gpu_choice("bias_gradient", GRAD)
    [file] = (ledger.cache_folder() / "trust").iterdir()
    assert SUM in json.loads(file.read_text())["outcomes"]
    process(module(bias_gradient=twice("bias_gradient")))
    assert gpu_choice("bias_gradient", GRAD) == "triton" and checks == [SUM]


def test_a_kept_mismatch_is_still_said(process, checks):
    process(module(bias_gradient=twice("bias_gradient")))
    with pytest.warns(RuntimeWarning):
        gpu_choice("bias_gradient", GRAD)
    process()
    with pytest.warns(RuntimeWarning, match="a wrong result, checked .* earlier"):
        assert gpu_choice("bias_gradient", GRAD) == "reference"
    assert checks == [SUM]


@pytest.mark.parametrize("change", ["triton", "torch", "driver", "kernels", "tiles", "device"])
def test_another_setting_is_checked_anew(process, monkeypatch, checks, change):
    gpu_choice("bias_gradient", GRAD)
    process()
    setting = {**ledger.setting(CPU), change: "another"}
    monkeypatch.setattr(ledger, "setting", lambda device: setting)
    gpu_choice("bias_gradient", GRAD)
    assert checks == [SUM, SUM]


@pytest.mark.parametrize("content", ["{", '{"setting": {}}', '{"outcomes": 3}', "[]", "\udcff"])
def test_a_corrupt_file_is_left_out_with_a_word(process, checks, caplog, content):
    gpu_choice("bias_gradient", GRAD)
    file = ledger.path(CPU)
    file.write_bytes(content.encode(errors="surrogateescape"))
    process()
    with caplog.at_level(logging.WARNING, "hyperconv.ops.ledger"):
        assert gpu_choice("bias_gradient", GRAD) == "triton"
    assert f"{file} is left out" in caplog.text
    assert checks == [SUM, SUM] and SUM in json.loads(file.read_text())["outcomes"]


def test_a_folder_that_cannot_be_written_keeps_it_in_memory(process, checks, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path / "file"))
    for size in (5, 6):
        assert gpu_choice("bias_gradient", (torch.zeros(1, 3, size, size), None, 1, 0.0)) == "triton"
    assert checks == [SUM]


def test_no_memory_is_no_fault_of_the_kernels(process):
    def exhausted(*args):
        raise torch.OutOfMemoryError("no memory")

    process(module(bias_gradient=exhausted))
    with pytest.warns(RuntimeWarning, match="no memory"):
        assert gpu_choice("bias_gradient", GRAD) == "reference"
    process()
    assert gpu_choice("bias_gradient", GRAD) == "triton"


def test_nothing_is_checked_while_a_graph_is_captured(monkeypatch, checks, process):
    monkeypatch.setattr(trust, "_not_now", lambda tensor: "a CUDA graph is being captured")
    with pytest.warns(RuntimeWarning, match="not checked on this device yet, and a CUDA graph is being captured"):
        assert gpu_choice("bias_gradient", GRAD) == "reference"
    assert checks == []
    monkeypatch.undo()


def test_after_the_capture_it_is_checked(monkeypatch, checks):
    with monkeypatch.context() as capturing:
        capturing.setattr(trust, "_not_now", lambda tensor: "a CUDA graph is being captured")
        with pytest.warns(RuntimeWarning):
            gpu_choice("bias_gradient", GRAD)
    assert gpu_choice("bias_gradient", GRAD) == "triton" and checks == [SUM]


def test_what_is_known_may_be_captured(monkeypatch, checks, process):
    gpu_choice("bias_gradient", GRAD)
    process()
    monkeypatch.setattr(trust, "_not_now", lambda tensor: "a CUDA graph is being captured")
    assert gpu_choice("bias_gradient", GRAD) == "triton"


def test_nothing_is_checked_with_fake_tensors(checks):
    with torch._subclasses.FakeTensorMode() as mode, pytest.warns(RuntimeWarning, match="a compiler is tracing"):
        assert gpu_choice("bias_gradient", (mode.from_tensor(GRAD[0]), None, 2, 0.0)) == "reference"
    assert checks == []


def test_a_check_does_not_disturb_its_caller(process):
    state = torch.random.get_rng_state()
    mode = torch.inference_mode()
    with mode, torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        assert gpu_choice("bias_gradient", GRAD) == "triton"
        assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_check_never_asks_who_computes(process, monkeypatch):
    monkeypatch.setattr(backends, "choose", lambda *_: pytest.fail("the check chose a backend"))
    assert gpu_choice("bias_gradient", GRAD) == "triton"


def test_threads_check_a_class_once(checks):
    found = []
    threads = [threading.Thread(target=lambda: found.append(gpu_choice("bias_gradient", GRAD))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["triton"] * 4 and checks == [SUM]


def test_a_call_that_triton_cannot_compile_falls_back(monkeypatch, process):
    """Its class was trusted, but this call needs more shared memory, say."""

    class OutOfResources(Exception):
        __module__ = "triton.runtime.errors"

    def run(*args):
        raise OutOfResources("shared memory, Required: 300000")

    def chosen(operation, *args):
        return module(bias_gradient=run) if gpu_choice(operation, args) == "triton" else reference

    monkeypatch.setattr(backends, "choose", chosen)
    compute = implementation("bias_gradient")
    with use_backend("auto"), pytest.warns(RuntimeWarning, match="OutOfResources: shared memory"):
        result = compute(torch.ones(2, 3, 6, 6), None, 2, 0.0)
    assert torch.equal(result, torch.full((2, 3), 36.0))
    process()
    with use_backend("triton"), pytest.raises(OutOfResources):
        compute(*GRAD)


@settings(max_examples=300)
@given(
    operation=st.sampled_from([name for name in OPERATIONS if name != "bias_gradient"]),
    arithmetic=st.sampled_from(tuple(ARITHMETICS)),
    channels=st.tuples(st.integers(1, 140), st.integers(1, 140)),
    groups=st.integers(1, 3),
    size=st.tuples(st.integers(1, 99), st.integers(1, 99)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.integers(1, 3),
    channels_last=st.booleans(),
)
def test_every_call_has_a_class_with_a_trial_as_the_kernels_plan_it(
    operation, arithmetic, channels, groups, size, stride, kernel, channels_last
):
    dtype = ARITHMETICS[arithmetic]
    memory = torch.channels_last if channels_last else torch.contiguous_format
    empty = lambda *shape: torch.empty(shape, device="meta", dtype=dtype)
    image = lambda *shape: empty(*shape).contiguous(memory_format=memory)
    geometry = (stride, (kernel, kernel), (1, 1), groups)
    out = [(pixels + kernel) // s + 1 for pixels, s in zip(size, stride)]
    input, grad = image(2, groups * channels[0], *size), image(2, groups * channels[1], *out)
    weight = empty(2, groups * channels[1], channels[0], kernel, kernel)
    sums = (grad, input, None, 2, (kernel, kernel), *geometry, 0.0)
    args = {
        "conv2d": (input, weight, None, *geometry, 0, 0.0),
        "masked_conv2d": (input, weight, None, None, *geometry, 0.0),
        "input_gradient": (grad, weight, None, size, *geometry, 0.0),
        "weight_gradient": sums,
        "parameter_gradients": sums,
    }[operation]
    layer = layer_of(arithmetic, shape_of(operation, args))
    found = planned(operation, arithmetic, args)
    if operation == "input_gradient" and stride != (1, 1):  # several launches, those that no tap reaches left out
        found = [each._replace(size=layer.size) for each in found] or [layer]
    assert layer in found
    assert variants(operation, layer, arithmetic)


def planned(operation, arithmetic, args):
    """The classes that the kernels' own plans ask tiles for."""
    from hyperconv.kernels import accumulation, correlation, operations
    from hyperconv.kernels.launch import rehearse

    asked = []
    with pytest.MonkeyPatch.context() as patch, rehearse("9.0"), products_in(arithmetic):
        for plan in (correlation, accumulation):
            compute = plan.classify
            patch.setattr(plan, "classify", lambda *a, compute=compute: asked.append(compute(*a)) or asked[-1])
        operations.forget_plans()
        getattr(operations, operation)(*args)
    operations.forget_plans()
    return asked


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_uneven_and_tiny_layers_reach_every_class(operation, arithmetic):
    usual = specimens(operation, arithmetic)
    assert usual or (operation, arithmetic) == ("bias_gradient", "tf32")
    for variant in ("uneven", "tiny"):
        missed = usual.keys() - specimens(operation, arithmetic, variant).keys()
        assert not [layer for layer in missed if layer.small or variant == "uneven"]


def first_layer(operation, arithmetic, kind, size="small"):
    return next(each for each in specimens(operation, arithmetic) if (each.kind, each.size) == (kind, size))


@interpreted
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_the_kernels_pass_in_the_interpreter(operation, arithmetic):
    kind = "bias" if operation == "bias_gradient" else "flat"
    layer = first_layer(operation, arithmetic, kind)
    assert attempt(Trial(operation, layer, arithmetic, "tiny"), CPU, kernels).passed


def test_one_wrong_pixel_is_seen():
    def off(*args):
        result = reference.conv2d(*args)
        result[-1, -1, -1, -1] += 0.1
        return result

    layer = first_layer("conv2d", "float16", "wide")
    assert attempt(Trial("conv2d", layer, "float16"), CPU, module(conv2d=off)).problem == "a wrong result"


def test_sums_in_low_precision_are_seen():
    def coarse(grad, mask, sets, slope):
        grad = reference.apply_mask(grad, mask, slope).unflatten(0, (sets, -1)).movedim(2, 1).flatten(2)
        total = torch.zeros_like(grad[..., 0])
        for value in grad.unbind(-1):
            total = total + value  # rounds after every term
        return total

    layer = first_layer("bias_gradient", "bfloat16", "bias", "large")
    outcome = attempt(Trial("bias_gradient", layer, "bfloat16"), CPU, module(bias_gradient=coarse))
    assert outcome.problem == "a wrong result" and outcome.error > 5 * outcome.pytorch


def test_tf32_may_be_as_coarse_as_tf32():
    """A layer that PyTorch happens to compute in float32 does not forbid what its switch allows."""

    def rounded(input, weight, *rest):
        return reference.conv2d(read_as_tf32(input), read_as_tf32(weight.contiguous()), *rest)

    layer = first_layer("conv2d", "tf32", "wide")
    backend = module(conv2d=rounded)
    assert attempt(Trial("conv2d", layer, "tf32"), CPU, backend).passed
    assert not attempt(Trial("conv2d", layer, "float32"), CPU, backend).passed


def test_an_outcome_survives_the_file():
    outcome = Outcome(0.1, 0.2, 0.3, "a wrong result")
    assert Outcome(**json.loads(json.dumps(dataclasses.asdict(outcome)))) == outcome

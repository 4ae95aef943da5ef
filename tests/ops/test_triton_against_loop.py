"""The Triton kernels in the interpreter against a loop of `F.conv2d` in float64, class by class of their tiles."""

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_loop import ACTIVATE, CODES, FAMILY
from triton_check import SAME, UNIT, check, random_call

pytest.importorskip("triton", reason="Triton is not installed")

import triton

from hyperconv import kernels
from hyperconv.kernels import accumulation, correlation, operations
from hyperconv.kernels.arithmetic import ARITHMETICS, products_in

LOW = (torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def interpreted(triton_backend):
    """Every test of this file runs the kernels in the interpreter."""


@pytest.fixture(params=["tf32", "float32", "bfloat16"])
def dtype(request):
    """With torch's switch, which picks the tiles of float32; the interpreter multiplies exactly with both."""
    with products_in(request.param):
        yield ARITHMETICS[request.param]


def plans(kind):
    """The plans of a class that were made since they were last forgotten."""
    return [plan for plan in operations._plans.values() if type(plan).__name__ == kind]


few = st.integers(1, 2)


@st.composite
def small_calls(draw):
    """Of few programs and taps; channels per group on both sides of the borders between the classes."""
    dtype = draw(st.sampled_from([torch.float64, torch.float32, *LOW]))
    channels = st.sampled_from([1, 2, 3] if dtype == torch.float64 else [1, 3, 5, 9, 17])
    kernel, stride = draw(st.tuples(few, st.integers(1, 3))), draw(st.tuples(few, st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 3), few))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 3)))
    smallest = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)]
    torch.manual_seed(draw(st.integers(0, 999)))
    return random_call(
        draw(few), draw(few), (draw(channels), draw(channels)),
        [least + draw(st.integers(0, 4)) for least in smallest], kernel,
        (stride, padding, dilation, draw(few)), dtype,
        where=draw(st.sampled_from(["contiguous", "channels_last", "sliced", "transposed"])),
        weights=draw(st.sampled_from(["flat", "expanded", "contiguous"])),
        masked=draw(st.booleans()), bias=draw(st.booleans()),
    )  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(small_calls(), st.sampled_from(list(ACTIVATE)))
def test_random_shapes(call, activation):
    check(call, activation)


@pytest.mark.parametrize("where", ["contiguous", "channels_last"])
@pytest.mark.parametrize("channels", [(3, 2), (5, 20), (20, 5), (20, 33), (35, 66)], ids=str)
def test_every_class_of_tiles(channels, where, dtype):
    """Thin, flat and wide, with remainders in every tile: channels in, channels out, pixels."""
    kernel = {33: (1, 2), 66: (1, 1)}.get(channels[1], (2, 2))
    check(
        random_call(1 if channels[0] == 35 else 2, 1, channels, (6, 13), kernel, UNIT, dtype, where=where), "leaky_relu"
    )


@pytest.mark.parametrize("where", ["contiguous", "channels_last"])
def test_weights_packed_by_the_rule(where):
    """Images large enough for packing, cut to a strip so that they have few tiles."""
    for weights in ("flat", "expanded"):
        call = random_call(1, 1, (9, 17), (2, 1200), (1, 2), UNIT, torch.float16, where=where, weights=weights)
        operations.forget_plans()
        check(call, None, ["conv2d", "input_gradient"])
        assert plans("Convolution")[0].correlation.pack
        assert plans("InputGradient")[0].correlations[0].pack


@pytest.mark.parametrize("weights", ["flat", "expanded", "permuted"])
def test_packed_weights_of_every_geometry(weights, monkeypatch):
    """Packing forced: strides, dilation and groups, several weight sets and slices of taps."""
    by_rule = correlation.tiles
    monkeypatch.setattr(correlation, "tiles", lambda *of: dataclasses.replace(by_rule(*of), pack=True))
    operations.forget_plans()
    for geometry in (UNIT, ((2, 3), (1, 2), (1, 1), 2)):
        call = random_call(2, 2, (3, 6), (5, 6), (2, 3), geometry, weights=weights)
        check(call, "relu", ["conv2d", "masked_conv2d", "input_gradient"])
    operations.forget_plans()


@pytest.mark.parametrize("where", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_images_copied_to_the_other_memory_format(where, dtype, monkeypatch):
    """The copy forced: strides, dilation and groups, several weight sets, channels and pixels beyond one tile."""
    for module in (correlation, accumulation):
        by_rule = module.tiles
        monkeypatch.setattr(module, "tiles", lambda *of, rule=by_rule: dataclasses.replace(rule(*of), relaid=True))
    operations.forget_plans()
    for channels, size, geometry in (
        ((20, 12), (5, 16), UNIT),
        ((70, 9), (9, 9), UNIT),
        ((20, 3), (5, 16), UNIT),
        ((9, 10), (7, 8), ((2, 3), (1, 2), (1, 1), 2)),
    ):
        check(random_call(2, 2, channels, size, (2, 3), geometry, dtype, where=where), "leaky_relu")
    operations.forget_plans()


@pytest.mark.parametrize(
    "size, kernel, geometry",
    [
        ((5, 9), (2, 2), ((4, 5), (1, 1), (1, 1), 1)),  # stride beyond the kernel: residues that no tap reaches
        ((5, 4), (2, 3), ((2, 2), (1, 2), (2, 2), 1)),  # stride and dilation alike: half of the residues
        ((9, 4), (3, 2), ((1, 1), (20, 15), (20, 30), 1)),  # dilation beyond the image
        ((3, 4), (3, 4), UNIT),  # kernel as large as the image
        ((1, 1), (1, 1), UNIT),
        ((1, 1), (3, 3), ((3, 2), (1, 1), (1, 1), 1)),
        ((2, 2), (2, 2), ((1, 1), (3, 4), (1, 1), 1)),  # padding beyond the image
        ((1, 13), (1, 4), ((1, 3), (0, 2), (1, 2), 2)),
        ((13, 1), (4, 1), ((3, 1), (2, 0), (2, 1), 1)),
    ],
)
def test_extreme_geometry(size, kernel, geometry):
    for channels in ((1, 5), (5, 1)):
        check(random_call(1, 2, channels, size, kernel, geometry))


@pytest.mark.parametrize("channels", [(1, 1), (1, 2)], ids=["depthwise", "multiplier"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depthwise(channels, dtype):
    check(random_call(1, 2, channels, (4, 5), (2, 2), ((1, 1), (1, 1), (1, 1), 3), dtype), "relu")


@pytest.mark.parametrize("channels", [(2, 4), (12, 4)], ids=["gradient_fixed", "input_fixed"])
@pytest.mark.parametrize("masked", [True, False], ids=["mask", "no_mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_pixels_in_several_splits(channels, masked, dtype):
    """Enough pixels for the splits' totals to be combined, with either tensor as the fixed one."""
    operations.forget_plans()
    call = random_call(1, 3, channels, (13, 17), (1, 2), ((1, 1), (1, 0), (1, 2), 1), dtype, masked=masked)
    check(call, None, ["weight_gradient", "parameter_gradients", "bias_gradient"])
    for plan in plans("Accumulation"):
        assert plan.splits > 1
        assert plan.exchanged == (channels == (12, 4))


def test_same_call_same_bits():
    operations.forget_plans()
    call = random_call(1, 2, (2, 5), (13, 17), (1, 2), SAME)
    for operation in FAMILY:
        function = getattr(kernels, operation)
        first, second = (function(*call.arguments(operation)) for _ in range(2))
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert all(plan.splits > 1 for plan in plans("Accumulation"))


@pytest.mark.parametrize(
    "channels, dtype", [((2, 3), torch.float64), ((2, 5), torch.float32), ((10, 17), torch.float32)]
)
def test_64_bit_indices(channels, dtype, monkeypatch):
    """Forced, since no tensor here is large enough."""
    monkeypatch.setattr("hyperconv.kernels.call.index_type", lambda *_: triton.language.int64)
    operations.forget_plans()
    check(random_call(2, 1, channels, (4, 5), (2, 2), ((1, 2), (1, 0), (2, 1), 2), dtype), "tanh")
    operations.forget_plans()


@pytest.mark.parametrize("activation", list(ACTIVATE))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *LOW])
@pytest.mark.parametrize("channels_out", [1, 6], ids=["thin", "matrix"])
def test_exact_activation(activation, dtype, channels_out):
    """A 1x1 kernel of weight 1 leaves the activation alone: the same bits as PyTorch's, NaN and infinities included."""
    values = [float("nan"), float("inf"), -float("inf"), -2.7, -1.0, -0.1, -0.0, 0.0, 1e-30, 0.3, 1.0, 5.5, 30.0, -30.0]
    input = torch.tensor(values, dtype=torch.float64).to(dtype).view(1, 1, 2, 7)
    weight = torch.ones(1, channels_out, 1, 1, 1, dtype=dtype)
    output = kernels.conv2d(input, weight, None, *UNIT, CODES[activation], 0.1)
    expected = ACTIVATE[activation](input, 0.1).expand_as(output)
    assert torch.equal(output.isnan(), expected.isnan())
    if activation == "tanh" and dtype == torch.float32:
        torch.testing.assert_close(output, expected, rtol=3e-7, atol=0, equal_nan=True)
    else:
        assert torch.equal(output.nan_to_num(7.0), expected.nan_to_num(7.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *LOW])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_exact_mask(dtype, slope):
    """m * values rounded once, of the result and of the values read, as PyTorch has it; NaN in a mask is not above 0."""
    values = torch.randn(1, 2, 3, 4, dtype=torch.float64).to(dtype)
    mask = torch.randn(1, 2, 3, 4, dtype=torch.float64).to(dtype)
    mask[0, 0, 0, :3] = torch.tensor([float("nan"), 0.0, -0.0])
    expected = torch.ops.aten.leaky_relu_backward(values, mask, slope, False)
    one = torch.eye(2, dtype=dtype).view(1, 2, 2, 1, 1)
    assert torch.equal(kernels.masked_conv2d(values, one, None, mask, *UNIT, slope), expected)
    assert torch.equal(kernels.input_gradient(values, one, mask, (3, 4), *UNIT, slope), expected)


def test_tanh_is_accurate_to_a_few_units_in_the_last_place():
    exponents = torch.linspace(-40, 6, 3000)
    x = torch.cat([2**exponents, -(2**exponents)])
    for dtype, allowed in ((torch.float32, 4), (torch.float64, 4)):
        input = x.to(dtype)
        output = kernels.conv2d(input.view(1, 1, 1, -1), torch.ones(1, 1, 1, 1, 1, dtype=dtype), None, *UNIT, 3, 0.0)
        exact = torch.tanh(input.double())
        error = (output.flatten().double() - exact).abs() / exact.abs()
        assert error.max() < allowed * torch.finfo(dtype).eps
        assert output.abs().max() <= 1

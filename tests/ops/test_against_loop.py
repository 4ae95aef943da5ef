"""Every operator and backend against a loop of `F.conv2d` in float64."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_loop import ACTIVATE, CODES, FAMILY, Call, calls, convolve_each, tensors_of

from hyperconv import hyper_conv2d
from hyperconv.ops.schema import layout, operator

# The backend fixture holds for all examples of a test.
every_example = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
gradients = pytest.mark.parametrize("operation", FAMILY)


@every_example
@given(calls(), st.sampled_from(list(ACTIVATE)))
def test_forward(quick_backend, call, activation):
    stride, padding, dilation, groups = call.geometry
    output = hyper_conv2d(
        call.input,
        call.weight,
        call.bias,
        stride,
        padding,
        dilation,
        groups,
        activation=activation,
        negative_slope=0.3,
    )
    expected = ACTIVATE[activation](convolve_each(call.input, call.weight, call.bias, *call.geometry), 0.3)
    torch.testing.assert_close(output, expected)
    assert output.is_contiguous(memory_format=layout(call.input))


@gradients
@every_example
@given(call=calls())
def test_masked_and_gradients(quick_backend, operation, call):
    output = operator(operation)(*call.arguments(operation))
    torch.testing.assert_close(output, call.expected(operation))


@gradients
@settings(every_example, max_examples=50)
@given(call=calls(dtype=torch.float32))
def test_single_precision(quick_backend, operation, call):
    output = operator(operation)(*call.arguments(operation))
    expected = call.to(torch.float64).expected(operation)
    for one, exact in zip(tensors_of(output), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, exact.float(), rtol=1e-4, atol=1e-4)


@gradients
@pytest.mark.parametrize("sets", [0, 2])
def test_empty_batch(backend, operation, sets):
    weight, empty = torch.randn(sets, 4, 3, 3, 3), torch.randn(0, 3, 8, 8)
    output = hyper_conv2d(empty, weight, torch.randn(sets, 4), activation="leaky_relu")
    assert output.shape == (0, 4, 6, 6)
    call = Call(empty, weight, None, ((1, 1), (0, 0), (1, 1), 1), output, None, 0.0)
    results = tensors_of(operator(operation)(*call.arguments(operation)))
    shapes = {
        "masked_conv2d": [output.shape],
        "input_gradient": [empty.shape],
        "weight_gradient": [weight.shape],
        "bias_gradient": [(sets, 4)],
        "parameter_gradients": [weight.shape, (sets, 4)],
    }
    assert [tuple(result.shape) for result in results] == [tuple(shape) for shape in shapes[operation]]
    assert all(torch.equal(result, torch.zeros_like(result)) for result in results)


def test_empty_batch_trains(backend):
    weight, bias = torch.randn(2, 4, 3, 3, 3, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    hyper_conv2d(torch.randn(0, 3, 8, 8), weight, bias, activation="tanh").sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert torch.equal(bias.grad, torch.zeros_like(bias))


@pytest.mark.parametrize("shape", [(8, 3, 64, 19, 23), (4, 64, 32, 9, 30), (3, 5, 1, 40, 40), (2, 17, 33, 11, 13)])
def test_wide_layers(quick_backend, shape):
    """Channel counts that fill vector registers, and ones that leave remainders."""
    sets, channels_in, channels_out, height, width = shape
    input = torch.randn(2 * sets, channels_in, height, width, dtype=torch.float64)
    weight = torch.randn(sets, channels_out, channels_in, 3, 3, dtype=torch.float64)
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    output = hyper_conv2d(input, weight, padding=1, activation="leaky_relu", negative_slope=0.2)
    call = Call(input, weight, None, geometry, torch.randn_like(output), output, 0.2)
    torch.testing.assert_close(output, ACTIVATE["leaky_relu"](convolve_each(input, weight, None, *geometry), 0.2))
    for operation in FAMILY:
        result = operator(operation)(*call.arguments(operation))
        torch.testing.assert_close(result, call.expected(operation))


@pytest.mark.parametrize("activation", list(ACTIVATE))
def test_nan_and_infinity_pass_as_in_pytorch(backend, activation):
    values = [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 2.0]
    input, weight = torch.tensor(values).reshape(1, 1, 1, 6), torch.ones(1, 1, 1, 1, 1)
    output = operator("conv2d")(input, weight, None, (1, 1), (0, 0), (1, 1), 1, CODES[activation], 0.1)
    torch.testing.assert_close(output, ACTIVATE[activation](input, 0.1), equal_nan=True, rtol=1e-6, atol=0)

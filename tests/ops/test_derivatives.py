"""First, second and third derivatives of every operator against finite differences; opcheck."""

import functools

import pytest
import torch
from sample_loop import CODES, FAMILY
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from hyperconv import hyper_conv2d
from hyperconv.ops.schema import operator

# stride, padding, dilation, groups; with 2 weight sets for 4 samples, 2 -> 2 channels
GEOMETRIES = [((1, 1), (1, 1), (1, 1), 1), ((2, 1), (0, 2), (1, 2), 2)]


def random(*shape, dtype=torch.float64, requires_grad=True):
    # Away from 0, where the activations have a kink.
    values = torch.randn(shape, dtype=dtype)
    return (values + 0.1 * values.sign()).requires_grad_(requires_grad)


def variables(geometry, bias=True):
    weight = random(2, 2, 2 // geometry[-1], 2, 3)
    return random(4, 2, 3, 4), weight, random(2, 2) if bias else None


def call(name, geometry, masked):
    """(function of the differentiable tensors, those tensors) for one operator of the family."""
    input, weight, bias = (t.detach() for t in variables(geometry))
    output = operator("conv2d")(input, weight, bias, *geometry, CODES["leaky_relu"], 0.2)
    grad, mask, tail = random(*output.shape), output if masked else None, (*geometry, 0.2)
    op = operator(name)
    if name == "masked_conv2d":
        return lambda x, w, b: op(x, w, b, mask, *tail), variables(geometry)
    if name == "input_gradient":
        return lambda g, w: op(g, w, mask, (3, 4), *tail), (grad, variables(geometry)[1])
    if name in ("weight_gradient", "parameter_gradients"):
        return lambda g, x: op(g, x, mask, 2, (2, 3), *tail), (grad, variables(geometry)[0])
    return lambda g: op(g, mask, 2, 0.2), (grad,)


geometries = pytest.mark.parametrize("geometry", GEOMETRIES, ids=["plain", "strided"])
family = pytest.mark.parametrize("name", FAMILY)
activations = pytest.mark.parametrize("activation", list(CODES))


@geometries
@activations
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_forward(quick_backend, geometry, activation, bias):
    inputs = tuple(t for t in variables(geometry, bias) if t is not None)
    function = functools.partial(convolve, geometry=geometry, activation=activation)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def convolve(input, weight, bias=None, *, geometry, activation):
    return hyper_conv2d(input, weight, bias, *geometry, activation=activation, negative_slope=0.2)


@family
@geometries
@pytest.mark.parametrize("masked", [True, False], ids=["mask", "no_mask"])
def test_family(quick_backend, name, geometry, masked):
    function, inputs = call(name, geometry, masked)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_third_order(quick_backend, activation):
    input, weight = random(2, 1, 3, 3), random(2, 2, 1, 2, 2)

    def first_gradients(input, weight):
        output = hyper_conv2d(input, weight, activation=activation, negative_slope=0.2)
        return torch.autograd.grad(output.pow(3).sum(), (input, weight), create_graph=True)

    assert gradgradcheck(first_gradients, (input, weight))


def test_negative_slope_below_zero(quick_backend):
    """The sign of the output no longer tells the input's; the activation is not fused, and still right."""
    input, weight = random(2, 2, 4, 4), random(2, 3, 2, 2, 2)
    function = functools.partial(hyper_conv2d, activation="leaky_relu", negative_slope=-0.5)
    expected = torch.nn.functional.leaky_relu(hyper_conv2d(input, weight), -0.5)
    torch.testing.assert_close(function(input, weight), expected)
    assert gradcheck(function, (input, weight))
    assert gradgradcheck(function, (input, weight))


def test_per_sample_gradients_of_an_expanded_weight(quick_backend):
    """The gradient of a weight expanded with stride 0, before the sum, is the per-sample gradient."""
    input, shared = random(3, 2, 5, 5), random(1, 4, 2, 3, 3).detach()
    expanded = shared.expand(3, -1, -1, -1, -1).requires_grad_()
    (per_sample,) = torch.autograd.grad(hyper_conv2d(input, expanded).pow(2).sum(), expanded)
    for n in range(3):
        one = shared.clone().requires_grad_()
        (expected,) = torch.autograd.grad(hyper_conv2d(input[n : n + 1], one).pow(2).sum(), one)
        torch.testing.assert_close(per_sample[n], expected[0])


@activations
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_opcheck_forward(quick_backend, activation, memory_format):
    geometry = GEOMETRIES[0]
    input, weight, bias = variables(geometry)
    input = input.detach().contiguous(memory_format=memory_format).requires_grad_()
    opcheck(operator("conv2d"), (input, weight, bias, *geometry, CODES[activation], 0.2))


@family
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_opcheck_family(quick_backend, name, memory_format):
    geometry = GEOMETRIES[1]
    input, weight, bias = variables(geometry)
    input = input.detach().contiguous(memory_format=memory_format).requires_grad_()
    mask = operator("conv2d")(input, weight, bias, *geometry, CODES["relu"], 0.0).detach()
    grad, tail = torch.randn_like(mask).requires_grad_(), (*geometry, 0.0)
    arguments = {
        "masked_conv2d": (input, weight, bias, mask, *tail),
        "input_gradient": (grad, weight, mask, (3, 4), *tail),
        "weight_gradient": (grad, input, mask, 2, (2, 3), *tail),
        "bias_gradient": (grad, mask, 2, 0.0),
        "parameter_gradients": (grad, input, mask, 2, (2, 3), *tail),
    }
    opcheck(operator(name), arguments[name])

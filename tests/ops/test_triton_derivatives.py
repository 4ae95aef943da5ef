"""First and second derivatives through the Triton kernels, along random directions; opcheck."""

import functools

import pytest
import torch
from sample_loop import CODES, FAMILY
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from hyperconv import hyper_conv2d
from hyperconv.kernels.preparation import Preparation
from hyperconv.ops.schema import operator

# stride, padding, dilation, groups; with 2 weight sets for 4 samples, 1 -> 2 channels
GEOMETRY = ((2, 1), (0, 1), (1, 2), 1)


@pytest.fixture(autouse=True)
def interpreted(triton_backend):
    """Every test of this file runs the kernels in the interpreter."""


def random(*shape):
    # Away from 0, where the activations have a kink.
    values = torch.randn(shape, dtype=torch.float64)
    return (values + 0.1 * values.sign()).requires_grad_()


def variables(memory_format=torch.contiguous_format):
    input = random(4, 1, 2, 3).detach().contiguous(memory_format=memory_format).requires_grad_()
    return input, random(2, 2, 1, 1, 2), random(2, 2)


def arguments(name, memory_format=torch.contiguous_format):
    """Of one call of an operator: the differentiable tensors and all others."""
    input, weight, bias = variables(memory_format)
    mask = operator("conv2d")(input, weight, bias, *GEOMETRY, CODES["leaky_relu"], 0.2).detach()
    grad, tail = random(*mask.shape), (*GEOMETRY, 0.2)
    return {
        "conv2d": (input, weight, bias, *GEOMETRY, CODES["leaky_relu"], 0.2),
        "masked_conv2d": (input, weight, bias, mask, *tail),
        "input_gradient": (grad, weight, mask, (2, 3), *tail),
        "weight_gradient": (grad, input, mask, 2, (1, 2), *tail),
        "bias_gradient": (grad, mask, 2, 0.2),
        "parameter_gradients": (grad, input, mask, 2, (1, 2), *tail),
    }[name]


@pytest.mark.parametrize("activation", [None, "leaky_relu", "tanh"])
def test_forward(activation):
    function = functools.partial(hyper_conv2d, activation=activation, negative_slope=0.2)
    inputs = (random(2, 1, 2, 3), random(2, 2, 1, 1, 2), random(2, 2))
    assert gradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)
    assert gradgradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)


@pytest.mark.parametrize("name", FAMILY)
def test_family(name):
    call = arguments(name)
    differentiable = [index for index, value in enumerate(call) if getattr(value, "requires_grad", False)]

    def function(*tensors):
        values = dict(zip(differentiable, tensors, strict=True))
        return operator(name)(*(values.get(index, value) for index, value in enumerate(call)))

    inputs = tuple(call[index] for index in differentiable)
    assert gradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)
    assert gradgradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)


@pytest.mark.parametrize("name", ["conv2d", *FAMILY])
def test_opcheck(name):
    opcheck(operator(name), arguments(name, torch.channels_last))


def test_per_sample_gradients_of_an_expanded_weight():
    """The gradient of a weight expanded with stride 0, before the sum, is the per-sample gradient."""
    input, shared = random(2, 2, 3, 3), random(1, 3, 2, 2, 2).detach()
    expanded = shared.expand(2, -1, -1, -1, -1).requires_grad_()
    (per_sample,) = torch.autograd.grad(hyper_conv2d(input, expanded).pow(2).sum(), expanded)
    for n in range(2):
        one = shared.clone().requires_grad_()
        output = torch.nn.functional.conv2d(input[n : n + 1], one[0])
        (expected,) = torch.autograd.grad(output.pow(2).sum(), one)
        torch.testing.assert_close(per_sample[n], expected[0])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_backward_pass_masks_once_for_both_gradients(stride, monkeypatch):
    """In channels_last; the gradients are those of two calls, which is what a backward pass to be differentiated makes."""
    input = torch.randn(4, 16, 5, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, bias = torch.randn(2, 16, 16, 3, 3, requires_grad=True), torch.randn(2, 16, requires_grad=True)
    output = hyper_conv2d(input, weight, bias, stride=stride, activation="leaky_relu", negative_slope=0.2)
    grad = torch.randn_like(output)
    apart = torch.autograd.grad(output, (input, weight, bias), grad, create_graph=True)

    made = []
    run = Preparation.run
    monkeypatch.setattr(Preparation, "run", lambda self, source, mask: made.append(mask) or run(self, source, mask))
    at_once = torch.autograd.grad(output, (input, weight, bias), grad)
    assert sum(mask is not None for mask in made) == 1
    for one, other in zip(at_once, apart):
        torch.testing.assert_close(one, other)
        assert one.stride() == other.stride()

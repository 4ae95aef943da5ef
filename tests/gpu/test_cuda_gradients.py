"""Derivatives of every order on a GPU, and the gradient penalty."""

import pytest
import torch
from each_sample import ACTIVATE, Settings, each_sample, random_layer, relative_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperconv import hyper_conv2d

CASES = [
    Settings(activation="leaky_relu", negative_slope=0.2),
    Settings(activation="tanh", padding=(1, 1)),
    Settings(activation="relu", stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    Settings(groups=2),
]


def tensors(device, options, share=2, dtype=torch.float64, channels=(2, 4), size=(6, 7)):
    values = random_layer(device, 2, share, channels, size, groups=options.groups, dtype=dtype)
    return [value.requires_grad_() for value in values]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_first_and_second_derivatives(device, backend, options):
    variables = tensors(device, options)

    def layer(input, weight, bias):
        return hyper_conv2d(input, weight, bias, **options.arguments())

    # cuDNN's backward may sum in any order.
    assert torch.autograd.gradcheck(layer, variables, nondet_tol=1e-10)
    assert torch.autograd.gradgradcheck(layer, variables, nondet_tol=1e-10)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(3, 20), st.integers(3, 20)),
    share=st.integers(1, 3),
    activation=st.sampled_from(list(ACTIVATE)),
)
def test_gradients_equal_those_of_the_loop(device, backend, channels, size, share, activation):
    options = Settings(padding=(1, 1), activation=activation, negative_slope=0.1)
    variables = tensors(device, options, share, channels=channels, size=size)
    own = torch.autograd.grad(hyper_conv2d(*variables, **options.arguments()).sin().sum(), variables)
    exact = torch.autograd.grad(each_sample(*variables, options).sin().sum(), variables)
    torch.testing.assert_close(own, exact)


def critic(apply, input, weights):
    x = input
    for i, (weight, bias) in enumerate(weights):
        last = i == len(weights) - 1
        x = apply(x, weight, bias, Settings(activation=None if last else "leaky_relu", negative_slope=0.02))
    return x


def penalty_gradients(apply, input, weights):
    """Gradients of a WGAN-GP penalty by all weights of a three-layer critic."""
    scores = critic(apply, input, weights)
    (slope,) = torch.autograd.grad(scores.sum(), input, create_graph=True)
    penalty = (slope.norm(2, dim=1) - 1).square().mean()
    return torch.autograd.grad(penalty, [weight for weight, _ in weights])


def ours(input, weight, bias, options):
    return hyper_conv2d(input, weight, bias, **options.arguments())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_gradient_penalty(device, backend, dtype, tolerance):
    layers = [random_layer(device, 4, 1, pair, seed=i) for i, pair in enumerate([(3, 16), (16, 16), (16, 1)])]
    scaled = [(weight / weight[0, 0].numel() ** 0.5, bias) for _, weight, bias in layers]
    image = random_layer(device, 4, 1, (3, 1), (24, 30))[0].requires_grad_()
    exact = penalty_gradients(each_sample, image, [(w.requires_grad_(), b) for w, b in scaled])

    same = [(w.detach().to(dtype).requires_grad_(), b.to(dtype)) for w, b in scaled]
    own = penalty_gradients(ours, image.detach().to(dtype).requires_grad_(), same)
    for gradient, expected in zip(own, exact, strict=True):
        assert relative_error(gradient, expected) < tolerance


def test_channels_last_gradients(device, backend):
    options = Settings(padding=(1, 1), activation="leaky_relu")
    variables = tensors(device, options, channels=(8, 16))
    exact = torch.autograd.grad(each_sample(*variables, options).square().sum(), variables)
    laid_out = variables[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    variables[0] = laid_out
    own = torch.autograd.grad(ours(*variables, options).square().sum(), variables)
    torch.testing.assert_close(own, exact)
    assert own[0].is_contiguous(memory_format=torch.channels_last)


def test_gradients_repeat_bit_for_bit(device, backend):
    options = Settings(padding=(1, 1), activation="leaky_relu")
    variables = tensors(device, options, dtype=torch.float32, channels=(16, 16), size=(60, 60))
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (torch.autograd.grad(ours(*variables, options).square().sum(), variables) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)

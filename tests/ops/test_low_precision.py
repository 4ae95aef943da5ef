"""bfloat16 and float16: the error against float64 is at most twice PyTorch's own for the same inputs."""

import pytest
import torch
from sample_loop import ACTIVATE, FAMILY, Call, convolve_each, tensors_of

from hyperconv import hyper_conv2d
from hyperconv.ops.schema import operator

GEOMETRY = ((1, 1), (1, 1), (1, 1), 1)
dtypes = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
layers = pytest.mark.parametrize("channels", [(3, 32), (32, 32), (32, 3)], ids=str)


def rounded(*shape, dtype, scale=1.0):
    return (scale * torch.randn(shape)).to(dtype)


def layer(backend, channels, dtype):
    channels_in, channels_out = channels
    sets, samples, kernel, *size = (1, 2, 2, 5, 4) if backend == "triton" else (2, 4, 3, 15, 14)  # it takes its time
    input = rounded(samples, channels_in, *size, dtype=dtype)
    weight = rounded(sets, channels_out, channels_in, kernel, kernel, dtype=dtype, scale=channels_in**-0.5 / kernel)
    return input, weight, rounded(sets, channels_out, dtype=dtype)


def assert_no_worse(ours, pytorchs, exact):
    """By root mean square and by the largest error; half a last place of the largest value is no error."""
    assert ours.dtype == pytorchs.dtype
    smallest = torch.finfo(ours.dtype).eps / 2 * exact.abs().max()
    ours, pytorchs = (ours.double() - exact).abs(), (pytorchs.double() - exact).abs()
    assert ours.square().mean().sqrt() <= 2 * pytorchs.square().mean().sqrt()
    assert ours.max() <= 2 * pytorchs.max().clamp(min=smallest)


@dtypes
@layers
@pytest.mark.parametrize("activation", list(ACTIVATE))
def test_forward(backend, dtype, channels, activation):
    input, weight, bias = layer(backend, channels, dtype)
    ours = hyper_conv2d(input, weight, bias, padding=1, activation=activation, negative_slope=0.2)
    pytorchs = ACTIVATE[activation](convolve_each(input, weight, bias, *GEOMETRY), 0.2)
    exact = [t.double() for t in (input, weight, bias)]
    assert_no_worse(ours, pytorchs, ACTIVATE[activation](convolve_each(*exact, *GEOMETRY), 0.2))


@dtypes
@layers
@pytest.mark.parametrize("operation", FAMILY)
def test_masked_and_gradients(backend, dtype, channels, operation):
    input, weight, bias = layer(backend, channels, dtype)
    mask = hyper_conv2d(input, weight, bias, padding=1, activation="leaky_relu", negative_slope=0.2)
    call = Call(input, weight, bias, GEOMETRY, rounded(*mask.shape, dtype=dtype), mask, 0.2)
    ours = operator(operation)(*call.arguments(operation))
    pytorchs, exact = call.expected(operation), call.to(torch.float64).expected(operation)
    for results in zip(tensors_of(ours), tensors_of(pytorchs), tensors_of(exact), strict=True):
        assert_no_worse(*results)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"), [(1, 7, 2, 3), (1, 5, 3, 2), (2, 7, 3, 3), (1, 3, 2, 1)]
)
def test_the_gradient_of_taps_that_read_nothing_but_padding_is_zero(quick_backend, side, kernel, stride, padding):
    """oneDNN's bfloat16 leaves them as the memory was."""
    for channels in (16, 64):
        for _ in range(3):
            junk = [torch.full((200_000,), 1e20) for _ in range(3)]
            del junk
            input, grad = torch.randn(3, channels, side, side), torch.randn(3, channels, 1, 1)
            settings = (None, 3, (kernel, kernel), (stride, stride), (padding, padding), (1, 1), 1, 0.0)
            rounded, exact = (
                operator("parameter_gradients")(grad.to(dtype), input.to(dtype), *settings)[0].double()
                for dtype in (torch.bfloat16, torch.float64)
            )
            torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)

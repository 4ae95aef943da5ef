"""Tensors of more elements than a 32-bit integer counts, at their far end; half of a 40 GB GPU is needed."""

import pytest
import torch
from each_sample import Settings, each_sample, relative_error

from hyperconv import hyper_conv2d

SIDE = 5900
"""Pixels: 64 channels of this side are more than 2^31 elements."""

CORNER = 20
NEEDED = 20 << 30


@pytest.fixture(autouse=True)
def memory(device):
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    if free < NEEDED:
        pytest.skip(f"{free >> 30} GB of GPU memory are free, and {NEEDED >> 30} are needed")
    yield
    torch.cuda.empty_cache()


def normal(*shape, seed=0):
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, generator=generator, device="cuda", dtype=torch.bfloat16)


def test_output_pixels_beyond(own_kernels):
    input, weight = normal(1, 64, SIDE, SIDE), normal(1, 2, 64, 3, 3, seed=1)
    assert input.numel() > 2**31
    output = hyper_conv2d(input, weight, padding=1)
    corner = input[..., -CORNER:, -CORNER:].double()
    exact = each_sample(corner, weight.double(), None, Settings(padding=(1, 1)))[..., 1:, 1:]
    assert relative_error(output[..., 1 - CORNER :, 1 - CORNER :], exact) < 1e-2


def test_output_channels_beyond(own_kernels):
    input, weight = normal(1, 2, SIDE, SIDE), normal(1, 64, 2, 3, 3, seed=1)
    output = hyper_conv2d(input, weight, padding=1)
    assert output.numel() > 2**31
    corner = input[..., -CORNER:, -CORNER:].double()
    exact = each_sample(corner, weight.double(), None, Settings(padding=(1, 1)))[..., 1:, 1:]
    assert relative_error(output[..., 1 - CORNER :, 1 - CORNER :], exact) < 1e-2


def test_gradients_from_beyond(own_kernels):
    """A gradient that is zero but in the last corner: what it adds to input and weight comes from there only."""
    input, weight = normal(1, 64, SIDE, SIDE), normal(1, 2, 64, 3, 3, seed=1)
    grad = torch.zeros(1, 2, SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    grad[..., -CORNER:, -CORNER:] = normal(1, 2, CORNER, CORNER, seed=2)
    settings = ([1, 1], [1, 1], [1, 1], 1, 0.0)
    by_input = torch.ops.hyperconv.input_gradient(grad, weight, None, [SIDE, SIDE], *settings)
    by_weight = torch.ops.hyperconv.weight_gradient(grad, input, None, 1, [3, 3], *settings)

    # One more row and column of input than of gradient; the padding beside them multiplies zeros.
    corner = input[..., -CORNER - 1 :, -CORNER - 1 :].double().requires_grad_()
    exact_weight = weight.double().requires_grad_()
    output = each_sample(corner, exact_weight, None, Settings(padding=(1, 1)))
    gradients = torch.autograd.grad(output, (corner, exact_weight), grad[..., -CORNER - 1 :, -CORNER - 1 :].double())
    assert relative_error(by_input[..., -CORNER - 1 :, -CORNER - 1 :], gradients[0]) < 1e-2
    assert relative_error(by_weight, gradients[1]) < 1e-2
    assert not by_input[..., : SIDE - CORNER - 1, :].any()


def test_samples_beyond(own_kernels):
    """Many samples, each far from the limit; the last of them."""
    samples, side = 68, 710
    input, weight = normal(samples, 64, side, side), normal(samples // 2, 2, 64, 3, 3, seed=1)
    assert input.numel() > 2**31
    output = hyper_conv2d(input, weight, padding=1)
    exact = each_sample(input[-2:].double(), weight[-1:].double(), None, Settings(padding=(1, 1)))
    assert relative_error(output[-2:], exact) < 1e-2

"""A ReLU's zeros stop gradients whatever these are: an infinity from above is no NaN below, as in PyTorch."""

import pytest
import torch
import torch.nn.functional as F

from hyperconv import hyper_conv2d
from hyperconv.ops.schema import operator

SAME = ((1, 1), (1, 1), (1, 1), 1, 0.0)
WHERE_THE_MASK_IS_ZERO = (slice(None), slice(None), slice(1, 3))


def masked_factors(channels_in, channels_out, size, memory_format):
    """(grad, input, weight, mask): infinities in grad where, and only where, the mask is zero."""
    generator = torch.Generator().manual_seed(0)
    grad, mask = torch.randn(2, 2, channels_out, *size, generator=generator).abs()
    mask[WHERE_THE_MASK_IS_ZERO], grad[WHERE_THE_MASK_IS_ZERO] = 0, float("inf")
    input = torch.randn(2, channels_in, *size, generator=generator)
    weight = torch.randn(2, channels_out, channels_in, 3, 3, generator=generator)
    return *(image.to(memory_format=memory_format) for image in (grad, input)), weight, mask


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("channels_in", "channels_out", "size"), [(3, 20, (9, 11)), (20, 1, (17, 16)), (17, 18, (12, 13))]
)
def test_masked_infinities_reach_nothing(backend, channels_in, channels_out, size, memory_format):
    grad, input, weight, mask = masked_factors(channels_in, channels_out, size, memory_format)
    finite = grad.masked_fill(mask == 0, 0.0)
    calls = {
        "input_gradient": (weight, mask, size, *SAME),
        "weight_gradient": (input, mask, 2, (3, 3), *SAME),
        "bias_gradient": (mask, 2, 0.0),
        "parameter_gradients": (input, mask, 2, (3, 3), *SAME),
    }
    for name, arguments in calls.items():
        torch.testing.assert_close(operator(name)(grad, *arguments), operator(name)(finite, *arguments))


def test_a_masked_result_that_overflows_is_zero(backend):
    _, input, weight, mask = masked_factors(3, 20, (9, 11), torch.contiguous_format)
    input[:, :, 1:3] = float("inf")
    result = operator("masked_conv2d")(input, weight.abs(), None, mask, *SAME)
    assert (result[WHERE_THE_MASK_IS_ZERO] == 0).all()


def test_a_root_of_a_relu_has_the_gradients_of_pytorch(quick_backend):
    input, weight = torch.randn(2, 3, 16, 16), torch.randn(8, 3, 3, 3)
    gradients = []
    for convolve in (
        lambda weight: hyper_conv2d(input, weight, activation="relu"),
        lambda weight: F.relu(F.conv2d(input, weight)),
    ):
        leaf = weight.clone().requires_grad_()
        convolve(leaf).sqrt().mean().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)

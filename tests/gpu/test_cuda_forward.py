"""The forward pass on a GPU: every backend against a float64 loop of F.conv2d, in every dtype and layout."""

import pytest
import torch
from each_sample import ACTIVATE, Settings, each_sample, random_layer, relative_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperconv import hyper_conv2d

SLACK = {torch.float64: 1e-15, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
# Every new geometry compiles a Triton kernel, which takes a second: more examples come from several runs.
every_backend = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
two = st.tuples(st.integers(1, 2), st.integers(1, 2))


@st.composite
def layers(draw):
    groups = draw(st.integers(1, 2))
    sizes = {
        "sets": draw(st.integers(1, 4)),
        "share": draw(st.integers(1, 3)),
        "channels": (groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 9))),
        "kernel": draw(st.tuples(st.integers(1, 3), st.integers(1, 4))),
        "size": draw(st.tuples(st.integers(8, 33), st.integers(9, 40))),
        "groups": groups,
        "seed": draw(st.integers(0, 1000)),
    }
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    activation = draw(st.sampled_from(list(ACTIVATE)))
    return sizes, Settings(draw(two), padding, draw(two), groups, activation, negative_slope=0.2)


@pytest.mark.parametrize("dtype", SLACK, ids=str)
@every_backend
@given(layer=layers(), with_bias=st.booleans())
def test_as_exact_as_pytorch(device, backend, dtype, layer, with_bias):
    """At most twice the error of PyTorch's own convolution in this dtype, plus one algorithm's rounding."""
    sizes, options = layer
    input, weight, bias = random_layer(device, dtype=dtype, **sizes)
    bias = bias if with_bias else None
    exact = each_sample(input.double(), weight.double(), None if bias is None else bias.double(), options)
    own = relative_error(each_sample(input, weight, bias, options), exact)
    output = hyper_conv2d(input, weight, bias, **options.arguments())
    assert output.dtype == dtype
    assert relative_error(output, exact) <= 2 * own + SLACK[dtype]


@pytest.mark.parametrize("channels", [(3, 64), (64, 64), (64, 3), (32, 32), (64, 1), (17, 33)])
@pytest.mark.parametrize("size", [(25, 25), (188, 250)])
def test_layers_of_single_image_gans(device, backend, channels, size):
    input, weight, bias = random_layer(device, 4, 1, channels, size, dtype=torch.float32)
    options = Settings(padding=(1, 1), activation="leaky_relu", negative_slope=0.02)
    exact = each_sample(input.double(), weight.double(), bias.double(), options)
    assert relative_error(hyper_conv2d(input, weight, bias, **options.arguments()), exact) < 1e-5


def test_tf32_follows_pytorchs_switch(device, backend):
    """A backend must not be less exact than TF32 when that is allowed, nor than float32 when not."""
    input, weight, bias = random_layer(device, 4, 1, (64, 64), (64, 64), dtype=torch.float32)
    exact = each_sample(input.double(), weight.double(), bias.double(), Settings())
    assert relative_error(hyper_conv2d(input, weight, bias), exact) < 1e-5
    torch.backends.cudnn.allow_tf32 = True
    assert relative_error(hyper_conv2d(input, weight, bias), exact) < 2e-3


def test_channels_last_stays_channels_last(device, backend):
    input, weight, bias = random_layer(device, 3, 2, (8, 16))
    laid_out = input.contiguous(memory_format=torch.channels_last)
    output = hyper_conv2d(laid_out, weight, bias, padding=1)
    assert output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()
    torch.testing.assert_close(output, each_sample(input, weight, bias, Settings(padding=(1, 1))))


def test_weights_in_a_flat_buffer_and_expanded(device, backend):
    input, weight, bias = random_layer(device)
    flat = torch.randn(3, weight[0].numel() + 11, dtype=weight.dtype, device=device)
    flat[:, 5 : 5 + weight[0].numel()] = weight.flatten(1)
    view = flat[:, 5 : 5 + weight[0].numel()].unflatten(1, weight.shape[1:])
    assert not view.is_contiguous()
    torch.testing.assert_close(hyper_conv2d(input, view, bias), each_sample(input, weight, bias, Settings()))
    shared = weight[:1].expand_as(weight)
    torch.testing.assert_close(hyper_conv2d(input, shared, bias), each_sample(input, shared, bias, Settings()))


def test_input_with_gaps(device, backend):
    input, weight, bias = random_layer(device, size=(20, 30))
    gaps = input[:, :, ::2, 3:-4]
    torch.testing.assert_close(hyper_conv2d(gaps, weight, bias), each_sample(gaps, weight, bias, Settings()))


def test_empty_batch(device, backend):
    _, weight, bias = random_layer(device)
    output = hyper_conv2d(torch.empty(0, 3, 9, 9, dtype=torch.float64, device=device), weight, bias)
    assert output.shape == (0, 8, 7, 7)


def test_nan_and_infinity_survive_the_activation(device, backend):
    input, weight, bias = random_layer(device, 1, 1, (1, 1), (6, 6), (1, 1), dtype=torch.float32)
    input[0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), float("-inf")], device=device)
    for activation in ACTIVATE:
        options = Settings(activation=activation)
        output = hyper_conv2d(input, weight, bias, **options.arguments())
        torch.testing.assert_close(output, each_sample(input, weight, bias, options), equal_nan=True)


def test_every_output_is_written_and_repeats_bit_for_bit(device, backend):
    """Poisoned memory under the output would show, and so would a race."""
    input, weight, bias = random_layer(device, 5, 3, (19, 37), (61, 45), dtype=torch.float32)
    first = hyper_conv2d(input, weight, bias, padding=1)
    for _ in range(5):
        poison = torch.full_like(first, float("nan"))
        del poison
        assert torch.equal(hyper_conv2d(input, weight, bias, padding=1), first)


def test_many_samples(device, backend):
    """More samples than a grid's second and third dimension can count (65535)."""
    samples = 70_000
    input, weight, bias = random_layer(device, 2, samples // 2, (1, 2), (4, 5), dtype=torch.float32)
    output = hyper_conv2d(input, weight, bias)
    for part in (slice(0, 3), slice(34_998, 35_002), slice(65_533, 65_538), slice(samples - 3, samples)):
        sets = torch.arange(samples, device=device)[part] // (samples // 2)
        exact = each_sample(input[part].double(), weight[sets].double(), bias[sets].double(), Settings())
        assert relative_error(output[part], exact) < 1e-5


def test_tensors_on_different_devices_are_refused(device):
    input, weight, bias = random_layer(device)
    with pytest.raises(ValueError, match="cpu"):
        hyper_conv2d(input, weight.cpu(), bias)
    with pytest.raises(ValueError, match="cpu"):
        hyper_conv2d(input, weight, bias.cpu())

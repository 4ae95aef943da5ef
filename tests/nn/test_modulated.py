import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hyperconv import InputError, modulated_conv2d
from hyperconv.nn.modulated import LARGE_IMAGES

ACTIVATE = {None: lambda y: y, "relu": F.relu, "leaky_relu": lambda y: F.leaky_relu(y, 0.2), "tanh": torch.tanh}


def filtered(x, taps, gain):
    """Every channel convolved with the outer product of the taps, without padding."""
    line = torch.tensor(taps, dtype=x.dtype).flip(0)
    plane = torch.outer(line, line) / line.sum() ** 2 * gain
    samples, channels, height, width = x.shape
    out = F.conv2d(x.reshape(-1, 1, height, width), plane[None, None])
    return out.view(samples, channels, *out.shape[2:])


def step_by_step(input, weight, style, demodulate, bias, up, down, padding, taps, activation, eps=1e-8):
    """One weight per sample, built; zeros put between pixels, the filter, the convolution, every down-th pixel."""
    samples, channels, height, width = input.shape
    style = style.repeat_interleave(samples // len(style), 0)
    weights = weight[None] * style[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + eps).sqrt()
    n = len(taps)
    before, after = padding, padding
    if up > 1:
        between = input.new_zeros(samples, channels, height * up, width * up)
        between[:, :, ::up, ::up] = input
        input, before, after = between, before + (n + up - 1) // 2, after + (n - up) // 2
    if down > 1:
        before, after = before + (n - down + 1) // 2, after + (n - down) // 2
    x = F.pad(input, (before, after, before, after))
    if up > 1:
        x = filtered(x, taps, up * up)
    x = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), groups=samples)
    x = x.view(samples, len(weight), *x.shape[2:])
    if down > 1:
        x = filtered(x, taps, 1)[:, :, ::down, ::down]
    if bias is not None:
        x = x + bias[:, None, None]
    return ACTIVATE[activation](x)


def tensors(samples=4, styles=2, channels_in=3, channels_out=5, kernel=3, size=(6, 8)):
    options = {"dtype": torch.float64, "requires_grad": True}
    return (
        torch.randn(samples, channels_in, *size, **options),
        torch.randn(channels_out, channels_in, kernel, kernel, **options),
        torch.randn(styles, channels_in, **options),
        torch.randn(channels_out, **options),
    )


@given(st.data())
def test_equals_weights_built_for_every_sample(data):
    up, down = data.draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]))
    kernel = data.draw(st.integers(1, 4))
    padding = data.draw(st.integers(0, 3))
    taps = data.draw(st.sampled_from([(1, 3, 3, 1), (1, 1), (1, 2, 1), (1, 4, 2), (1,)]))
    taps = taps if len(taps) >= max(up, down) else (1, 3, 3, 1)
    demodulate, activation = data.draw(st.booleans()), data.draw(st.sampled_from(list(ACTIVATE)))
    input, weight, style, bias = tensors(kernel=kernel, size=(data.draw(st.sampled_from([5, 8, 32])), 7))
    bias = bias if data.draw(st.booleans()) else None
    ours = modulated_conv2d(
        input,
        weight,
        style,
        demodulate,
        bias=bias,
        up=up,
        down=down,
        padding=padding,
        resample_filter=taps,
        activation=activation,
        negative_slope=0.2,
    )
    plain = step_by_step(input, weight, style, demodulate, bias, up, down, padding, taps, activation)
    torch.testing.assert_close(ours, plain)
    leaves = [input, weight, style] + [bias] * (bias is not None)
    cotangent = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, leaves, cotangent), torch.autograd.grad(plain, leaves, cotangent)
    )


@pytest.mark.parametrize("kernel", [1, 3])  # images that are large beside the weights, and ones that are not
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
def test_derivatives_of_both_orders(up, down, kernel):
    arguments = tensors(samples=2, styles=1, channels_in=2, channels_out=1, kernel=kernel, size=(3, 4))
    thin = 3 * 12 > LARGE_IMAGES * arguments[1].numel()
    assert thin == (kernel == 1)

    def function(input, weight, style, bias):
        return modulated_conv2d(input, weight, style, bias=bias, up=up, down=down, activation="leaky_relu")

    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_same_padding_gives_the_size_times_up_over_down(kernel):
    input, weight, style, _ = tensors(kernel=kernel, size=(6, 8))
    assert modulated_conv2d(input, weight, style).shape == (4, 5, 6, 8)
    assert modulated_conv2d(input, weight, style, up=2).shape == (4, 5, 12, 16)
    assert modulated_conv2d(input, weight, style, down=2).shape == (4, 5, 3, 4)


def test_the_shortest_filter_repeats_and_averages_pixels():
    input, _, _, _ = tensors(channels_in=1, kernel=1)
    one, style = torch.ones(1, 1, 1, 1).double(), torch.ones(1, 1).double()
    options = {"demodulate": False, "resample_filter": (1, 1)}
    repeated = modulated_conv2d(input, one, style, up=2, **options)
    torch.testing.assert_close(repeated, F.interpolate(input, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(modulated_conv2d(input, one, style, down=2, **options), F.avg_pool2d(input, 2))


def test_demodulation_keeps_the_variance_whatever_the_style():
    style = torch.randn(8, 64).exp()
    out = modulated_conv2d(torch.randn(8, 64, 32, 32), torch.randn(64, 64, 3, 3), style)
    assert out[:, :, 1:-1, 1:-1].var((1, 2, 3)).tolist() == pytest.approx([1] * 8, abs=0.1)


@pytest.mark.parametrize("size", [(6, 8), (32, 32)])
def test_low_precision_and_compile(size):
    input, weight, style, bias = (t.detach().float() for t in tensors(size=size))
    exact = modulated_conv2d(input, weight, style, bias=bias, up=2, activation="relu")
    low = modulated_conv2d(
        *(t.bfloat16() for t in (input, weight, style)), bias=bias.bfloat16(), up=2, activation="relu"
    )
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, rtol=0.1, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = modulated_conv2d(
            input, weight, style, bias=bias, up=2, activation="relu", resample_filter=torch.tensor([1.0, 3, 3, 1])
        )
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), exact, rtol=0.1, atol=0.1)
    compiled = torch.compile(modulated_conv2d, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(input, weight, style, bias=bias, up=2, activation="relu"), exact)


def test_errors():
    input, weight, style, bias = tensors()
    for match, arguments, options in [
        (r"\(5, 3, 3, 3\)", (input[:, :2], weight, style), {}),
        (r"style must be \(B, C_in\) = \(B, 3\), got \(2, 2\)", (input, weight, style[:, :2]), {}),
        ("N = 4 samples, not a multiple of B = 3", (input, weight, torch.randn(3, 3).double()), {}),
        (r"bias must be \(C_out,\) = \(5,\), got \(4,\)", (input, weight, style), {"bias": bias[:4]}),
        ("one of them 1", (input, weight, style), {"up": 2, "down": 2}),
        ("'gelu'", (input, weight, style), {"activation": "gelu"}),
        ("odd kernel", (input, weight[:, :, :2], style), {}),
    ]:
        with pytest.raises(InputError, match=match):
            modulated_conv2d(*arguments, **options)

import pytest
import torch
import torch.nn.functional as F

from hyperconv.gan import template
from hyperconv.gan.discriminator import Discriminator, channel_norm
from hyperconv.gan.generator import Generator
from hyperconv.gan.template import ConvStack
from hyperconv.nn.layout import WeightSet


def test_published_nets_generate_the_published_number_of_parameters():
    assert Generator(3).stack().layout.size == 114_307
    assert Discriminator(3).stack.layout.size == 113_153
    assert Generator(3).margin == 5


def test_stack_is_a_plain_network_per_sample():
    stack = ConvStack(3, 6, 2, depth=3, negative_slope=0.1, tail="tanh")
    weights = WeightSet(stack.layout, torch.randn(2, stack.layout.size) * 0.2)
    x = torch.randn(4, 3, 12, 13)
    out = stack(x, weights)
    assert out.shape == (4, 2, 6, 7)
    for n in range(4):
        y = x[n]
        for i in range(3):
            y = F.conv2d(y, weights[f"{i}.weight"][n // 2], weights[f"{i}.bias"][n // 2])
            y = F.leaky_relu(y, 0.1) if i < 2 else y.tanh()
        torch.testing.assert_close(out[n], y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_layers_and_their_gradients_stay_in_the_memory_format_of_the_device(channels, monkeypatch):
    """Also those of images of one channel, and behind a critic's one: such tensors have no memory format themselves."""
    monkeypatch.setitem(template.MEMORY_FORMATS, "cpu", torch.channels_last)
    seen = []
    layer = ConvStack._layer

    def watched(stack, i, x, *others):
        out = layer(stack, i, x, *others)
        if i < stack.depth - 1:
            out.register_hook(seen.append)
            seen.append(out.detach())
        return out

    monkeypatch.setattr(ConvStack, "_layer", watched)
    stack = ConvStack(channels, 6, 1, depth=3)
    weights = WeightSet(stack.layout, torch.randn(2, stack.layout.size).requires_grad_())
    hidden = stack.hidden(torch.randn(2, channels, 12, 13), weights)
    assert hidden.is_contiguous(memory_format=torch.channels_last)
    stack(torch.randn(2, channels, 12, 13), weights).square().sum().backward()
    gradients = seen[-2:]
    assert len(seen) == 6 and all(each.is_contiguous(memory_format=torch.channels_last) for each in gradients)


def test_scaling_is_gain_over_root_fan_in():
    factors = ConvStack(3, 64, 1, negative_slope=0.02).scaling()
    assert factors["0.weight"] == pytest.approx((2 / (1 + 0.02**2)) ** 0.5 / 27**0.5)
    assert factors["4.weight"] == pytest.approx(1 / (64 * 9) ** 0.5)
    assert factors["4.bias"] == pytest.approx(1 / 8)
    assert Generator(3).stack().scaling()["4.weight"] == pytest.approx(5 / 3 / (64 * 9) ** 0.5)


@pytest.mark.parametrize("norm", ["pixel", "sample"])
def test_gradient_penalty_on_a_canvas_is_that_of_each_image_alone(norm):
    critic = Discriminator(3, 6, depth=3)
    weights = WeightSet(critic.stack.layout, (torch.randn(2, critic.stack.layout.size) * 0.3).double())
    sizes = torch.tensor([[14, 20], [17, 11]])
    real, fake = torch.randn(2, 2, 3, 17, 20, dtype=torch.double)
    alpha = torch.tensor(0.3, dtype=torch.double)
    together = critic.gradient_penalty(real, fake, alpha, sizes, weights, norm)
    alone = [
        critic.gradient_penalty(
            real[i : i + 1, :, :h, :w], fake[i : i + 1, :, :h, :w], alpha, sizes[i : i + 1], weights.select(i), norm
        )
        for i, (h, w) in enumerate(sizes.tolist())
    ]
    torch.testing.assert_close(together, torch.cat(alone))


def test_channel_norm_is_torchs_and_pixels_without_a_gradient_have_none():
    gradient = torch.randn(2, 3, 4, 5, dtype=torch.double)
    gradient[0, :, 1, 2] = 0
    gradient.requires_grad_()
    ours, torchs = channel_norm(gradient), gradient.norm(dim=1, keepdim=True)
    torch.testing.assert_close(ours, torchs)
    (wanted,) = torch.autograd.grad((torchs - 1).square().sum(), gradient)
    (found,) = torch.autograd.grad((ours - 1).square().sum(), gradient)
    torch.testing.assert_close(found, wanted)
    assert not found[0, :, 1, 2].any()


def test_gradient_penalty_by_hand():
    """A critic that is one linear layer has the gradient of its weights everywhere."""
    critic = Discriminator(1, 1, depth=1)
    weights = WeightSet(critic.stack.layout, torch.zeros(1, 10).double())
    weights.flat[:, 4] = 3.0  # the centre tap: D(x) is 3 x, cropped by one pixel on each side
    x = torch.randn(1, 1, 6, 6, dtype=torch.double)
    sizes = torch.tensor([[6, 6]])
    alpha = torch.tensor(0.5, dtype=torch.double)
    pixel = critic.gradient_penalty(x, -x, alpha, sizes, weights, "pixel")
    assert pixel.item() == pytest.approx((16 * (3 - 1) ** 2 + 20 * 1) / 36)
    sample = critic.gradient_penalty(x, -x, alpha, sizes, weights, "sample")
    assert sample.item() == pytest.approx((3 / 16 * 4 - 1) ** 2)

"""The generators and the discriminator: what they compute, what the prior and the noise do in them."""

import pytest
import torch
import torch.nn.functional as F

from hyperconv.gan.dip.discriminator import ProjectionDiscriminator
from hyperconv.gan.dip.generators import EqualLinear, build_generator
from hyperconv.gan.dip.objective import discriminator_loss, generator_loss
from hyperconv.gan.dip.system import InstanceGAN
from hyperconv.gan.presets import preset
from tests.gan.dip.conftest import KINDS

PAPER = ["paper-sngan", "paper-sngan-128", "paper-biggan", "paper-stylegan2", "small"]


def unit(count, features, dtype=torch.float32):
    return F.normalize(torch.randn(count, features, dtype=dtype), dim=1)


@torch.no_grad()
def disturb(net):
    """Where norms start as they are without a context, nothing of the prior would pass."""
    for parameter in net.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size, channels", [(8, 1), (16, 3)])
def test_images_of_a_generator_depend_on_noise_and_prior(make, kind, size, channels):
    config = make(kind, image_size=size, latent=9 if size == 16 else 8)
    net = build_generator(config, channels, 5).double().eval()
    disturb(net)
    noise, prior = torch.randn(2, config.latent, dtype=torch.float64), unit(2, 5, torch.float64)
    images = net(noise, prior)
    assert images.shape == (2, channels, size, size)
    assert not torch.allclose(images, net(noise.flip(0), prior), atol=1e-3)
    assert not torch.allclose(images, net(noise, prior.flip(0)), atol=1e-3)
    torch.testing.assert_close(images[:1], net(noise[:1], prior[:1]))


def test_every_part_of_the_noise_reaches_biggans_images(make):
    config = make("tiny-biggan", image_size=16, latent=9)
    net = build_generator(config, 1, 5).eval()
    disturb(net)
    noise = torch.randn(1, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(noise, unit(1, 5)).square().sum(), noise)
    assert config.chunks == 3 and (gradient.unflatten(1, (3, 3)).abs().amax(2) > 1e-6).all()


def test_scores_are_those_of_the_formula(make):
    """psi(phi(x)) + <D_emb(f), phi(x)>, with every weight divided by its largest singular value."""
    config = make(image_size=16)
    net = ProjectionDiscriminator(config, 3, 5).double()
    images, prior = torch.randn(4, 3, 16, 16, dtype=torch.float64), unit(4, 5, torch.float64)
    for _ in range(200):  # steps of power iteration
        net(images, prior)
    net.eval()

    def weight(layer):
        original = layer.parametrizations.weight.original
        return original / torch.linalg.matrix_norm(original.flatten(1), 2)

    x = images
    for number, block in enumerate(net.blocks):
        y = x if number == 0 else F.relu(x)
        y = F.conv2d(y, weight(block.conv1), block.conv1.bias, padding=1)
        y = F.conv2d(F.relu(y), weight(block.conv2), block.conv2.bias, padding=1)
        x = y + F.conv2d(x, weight(block.beside), block.beside.bias)
        x = F.avg_pool2d(x, 2) if number < 2 else x
    phi = F.relu(x).sum((2, 3))
    expected = phi @ weight(net.psi)[0] + net.psi.bias + torch.einsum("nf,wf,nw->n", prior, weight(net.embed), phi)
    torch.testing.assert_close(net(images, prior), expected, rtol=1e-5, atol=1e-7)


def test_hinge_losses():
    real, fake = torch.tensor([3.0, 0.5]), torch.tensor([-2.0, 0.25])
    assert discriminator_loss(real, fake).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1.25) / 2)
    assert generator_loss(fake).item() == pytest.approx(0.875)


@pytest.mark.parametrize("name", PAPER)
def test_widths_of_the_presets(name):
    """Channels from 4 px up, as the nets they are named after have them."""
    config = preset(name, "dip")
    widths = {
        "paper-sngan": [256] * 4,
        "paper-sngan-128": [1024, 1024, 512, 256, 128, 64],
        "paper-biggan": [1536, 1536, 768, 384, 192, 96],
        "paper-stylegan2": [512, 512, 512, 512, 512, 256],
        "small": [256, 256, 128, 64],
    }
    assert config.widths(config.hidden) == widths[name]


def test_equalised_layers_start_at_unit_variance():
    x = torch.randn(500, 64)
    for pace in (1.0, 0.01):
        layer = EqualLinear(64, 80, bias=1.0, pace=pace)
        y = layer(x)
        assert y.std().item() == pytest.approx(1, rel=0.1) and y.mean().item() == pytest.approx(1, abs=0.1)


def test_stylegan2_starts_at_images_of_moderate_contrast():
    config = preset("tiny-stylegan2", "dip", image_size=32)
    images = build_generator(config, 3, 16)(torch.randn(16, config.latent), unit(16, 16))
    assert 0.3 < images.std().item() < 5


def test_the_average_follows_the_generator(make):
    gan = InstanceGAN(make(average=0.5), 1, 4)
    before = [parameter.clone() for parameter in gan.average.parameters()]
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(1)
        gan.generator.blocks[0].norm1.running_mean.fill_(7)
    gan.follow(10**6)
    for own, old in zip(gan.average.parameters(), before):
        torch.testing.assert_close(own, old + 0.5)
    assert (gan.average.blocks[0].norm1.running_mean == 7).all()


def test_the_lower_half_of_the_discriminator_rests(make):
    net = ProjectionDiscriminator(make(image_size=32), 1, 4)
    resting = {id(p) for p in net.parameters()} - {id(p) for p in net.trained("freeze-d")}
    assert len(net.blocks) == 4 and resting == {id(p) for block in net.blocks[:2] for p in block.parameters()}
    assert len(net.trained("all")) == len(list(net.parameters()))

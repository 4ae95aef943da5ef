"""The shared critic pass gives exactly the gradients of the two games played separately."""

import pytest
import torch

from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import draw_noise
from hyperconv.gan.generator import Generator
from hyperconv.gan.photo_model import PhotoModel, no_noise
from hyperconv.gan.round import LOSSES, Rules, draw, draw_fakes, pair, play_together, unpair
from hyperconv.nn.layout import WeightSet

RULES = Rules(penalty_weight=0.1, penalty_norm="pixel", reconstruction_weight=50.0)


def make(scales: int):
    torch.manual_seed(4)
    generator, critic = Generator(3, 6, depth=3), Discriminator(3, 6, depth=3)
    flats = [(torch.randn(2, generator.layout(0).size) * 0.2).requires_grad_(s == scales - 1) for s in range(scales)]
    critic_flat = (torch.randn(2, critic.stack.layout.size) * 0.2).requires_grad_()
    sizes = [torch.tensor([[10, 14], [14, 9]]) * (s + 1) for s in range(scales)]
    model = PhotoModel(
        generator,
        [WeightSet(generator.layout(0), flat) for flat in flats],
        torch.tensor([[1.0, 0.3], [1.0, 0.6]])[:, :scales],
        sizes,
        [torch.randn(3, 14, 14).expand(2, -1, -1, -1), *[None] * (scales - 1)],
    )
    photos = torch.randn(2, 3, *sizes[-1].amax(0).tolist())
    return model, critic, WeightSet(critic.stack.layout, critic_flat), photos


def plain_losses(model, critic, critic_weights, photos, source):
    """The same round, each player with passes of its own; draws the same randomness in the same order."""
    _scale, sizes = model.scales - 1, model.sizes[-1]
    z, z_fixed = model.z(1, source), model.z_fixed()

    def noise(shape, scale):
        return torch.randn(shape, generator=source)

    fake = model.climb(model.begin(z), noise).values
    reconstruction = model.climb(model.begin(z_fixed), no_noise).values
    alpha = torch.rand(1, generator=source)[0]
    penalty = critic.gradient_penalty(photos, fake.detach(), alpha, sizes, critic_weights, "pixel").mean()
    critic_loss = (
        critic.score(fake.detach(), sizes, critic_weights).mean()
        - critic.score(photos, sizes, critic_weights).mean()
        + 0.1 * penalty
    )
    errors = [
        (reconstruction[i, :, :h, :w] - photos[i, :, :h, :w]).square().mean() for i, (h, w) in enumerate(sizes.tolist())
    ]
    generator_loss = -critic.score(fake, sizes, critic_weights).mean() + 50 * torch.stack(errors).mean()
    return critic_loss, generator_loss


@pytest.mark.parametrize("scales", [1, 2])
def test_gradients_are_those_of_the_separate_games(scales):
    model, critic, critic_weights, photos = make(scales)
    critic_flat, newest = critic_weights.flat, model.weights[-1].flat
    critic_loss, generator_loss = plain_losses(model, critic, critic_weights, photos, torch.Generator().manual_seed(5))
    (wanted_critic,) = torch.autograd.grad(critic_loss, critic_flat, retain_graph=True)
    (wanted_newest,) = torch.autograd.grad(generator_loss, newest)
    for weight_set in (*model.weights, critic_weights):
        weight_set._views = None
    extents = [model.extent(scale) for scale in range(scales)]
    noise = draw_noise(extents, model.batch, model.generator, torch.Generator().manual_seed(5))
    each = torch.full((2,), 0.5)
    losses = dict(zip(LOSSES, play_together(model, critic, critic_weights, photos, noise, RULES, each)))
    torch.testing.assert_close(losses["critic"].mean(), critic_loss.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(critic_flat.grad, wanted_critic, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(newest.grad, wanted_newest, rtol=1e-3, atol=1e-5)


def test_pairs_interleave():
    a, b = torch.arange(3), torch.arange(3) + 10
    assert pair(a, b).tolist() == [0, 10, 1, 11, 2, 12]
    assert [x.tolist() for x in unpair(pair(a, b))] == [a.tolist(), b.tolist()]


@pytest.mark.parametrize("scales", [1, 2])
def test_fakes_alone_are_those_drawn_with_the_reconstructions(scales):
    model, *_ = make(scales)
    extents = [model.extent(scale) for scale in range(scales)]
    noise = draw_noise(extents, model.batch, model.generator, torch.Generator().manual_seed(6))
    fakes = draw_fakes(model, noise)
    assert not fakes.requires_grad
    torch.testing.assert_close(fakes, draw(model, noise, 0)[0].detach())

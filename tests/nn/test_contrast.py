"""What a contrastive net learns of scikit-learn's digits, without a label, and that the source alone decides it."""

import math

import pytest
import torch
import torch.nn.functional as F

from hyperconv.data.domain_files import load_digits
from hyperconv.data.variants import views
from hyperconv.errors import InputError
from hyperconv.nn.contrast import info_nce, train_contrastive
from hyperconv.nn.instance_features import InstanceFeatures


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    return load_digits(8)


@pytest.fixture(scope="module")
def trained(digits):
    return train_contrastive(digits.pixels, 64, 60, source())


def neighbours_of_its_class(features, digits):
    """How often the nearest neighbour of an altered digit, among all others, shows the same digit."""
    images, labels = digits.pixels, torch.arange(10).repeat_interleave(digits.counts)
    altered = views(images / 127.5 - 1, source(9), mirror=False)
    distances = torch.cdist(features.of_all(altered), features.of_all(images)).fill_diagonal_(math.inf)
    return (labels[distances.argmin(1)] == labels).double().mean().item()


def test_an_altered_digit_s_neighbour_is_of_its_class_far_more_often_than_with_random_weights(digits, trained):
    """Wrong half as often after a few seconds; 0.71 against 0.88 after 300 steps."""
    untrained = neighbours_of_its_class(train_contrastive(digits.pixels, 64, 1, source()), digits)
    assert 1 - neighbours_of_its_class(trained, digits) < 0.7 * (1 - untrained)


def test_features_are_frozen_of_length_one_and_spread_around_the_origin(digits, trained):
    features = trained.of_all(digits.pixels)
    assert features.shape == (1797, 64) and not list(trained.parameters())
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1797))
    assert trained.of_all(digits.pixels, raw=True).mean(0).abs().max() < 1e-5
    assert features.mean(0).norm() < 0.3
    assert (trained.kind, trained.channels, trained.size) == ("contrastive", 1, 8)
    assert trained.name == "contrastive, 64 numbers, 60 steps on 1797 images of 8 px"


def test_the_source_alone_decides(digits):
    images = digits.pixels[::20]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = train_contrastive(images, 16, 3, source(5)).of_all(images)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(train_contrastive(images, 16, 3, source(5)).of_all(images), one)
    assert not torch.equal(train_contrastive(images, 16, 3, source(6)).of_all(images), one)
    assert torch.equal(
        train_contrastive(images, 16, 3).of_all(images), train_contrastive(images, 16, 3, source()).of_all(images)
    )


def test_what_a_run_keeps_gives_the_same_features(digits, trained):
    rebuilt = InstanceFeatures.from_tensors(trained.to_tensors())
    assert torch.equal(rebuilt.of_all(digits.pixels), trained.of_all(digits.pixels))
    assert rebuilt.name == trained.name


@pytest.mark.parametrize("channels, size", [(1, 4), (3, 9), (3, 32), (1, 50)])
def test_images_of_any_size_and_features_of_other_ones(channels, size):
    images, seen = torch.randint(256, (5, channels, size, size), dtype=torch.uint8), []
    features = train_contrastive(images, 24, 2, on_step=lambda taken, all: seen.append((taken, all)))
    assert seen == [(1, 2), (2, 2)]
    assert features.of_all(images).shape == (5, 24) and features.of_all(images).isfinite().all()
    other = torch.rand(2, 4 - channels, 21, 17) * 2 - 1
    assert features(other).shape == (2, 24)


def test_the_loss_is_the_cross_entropy_of_finding_the_partner():
    codes = torch.randn(6, 5, generator=source(), dtype=torch.double)
    unit, losses = F.normalize(codes, dim=1), []
    for row in range(6):
        partner = (row + 3) % 6
        others = [math.exp(float(unit[row] @ unit[other]) / 0.5) for other in range(6) if other != row]
        losses.append(-math.log(math.exp(float(unit[row] @ unit[partner]) / 0.5) / sum(others)))
    assert float(info_nce(codes, 0.5)) == pytest.approx(sum(losses) / 6)
    torch.autograd.gradcheck(info_nce, codes.requires_grad_())


def test_images_that_nothing_can_be_learned_from():
    for images in (torch.zeros(4, 3, 8, 8), torch.zeros(4, 2, 8, 8, dtype=torch.uint8)):
        with pytest.raises(InputError, match="must be .M, 1 or 3, S, S. uint8, got .4"):
            train_contrastive(images)
    for shape in ((1, 1, 8, 8), (4, 1, 8, 9), (4, 1, 3, 3)):
        with pytest.raises(InputError, match="two square images or more, of at least 4 px"):
            train_contrastive(torch.zeros(shape, dtype=torch.uint8))

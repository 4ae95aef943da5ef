"""DiffAugment: what changes, by how much, and that gradients pass."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperconv.gan.dip.diff_augment import AUGMENTATIONS, diff_augment


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(4, 20), st.integers(0, 99))
def test_translation_moves_whole_images(count, channels, size, seed):
    images = torch.rand(count, channels, size, size) + 0.1
    moved, most = diff_augment(images, ["translation"], source(seed)), int(size / 8 + 0.5)
    for before, after in zip(images, moved):
        found = False
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                expected = torch.zeros_like(before)
                inner = before[:, max(0, -down) : size - max(0, down), max(0, -right) : size - max(0, right)]
                top, left = max(0, down), max(0, right)
                expected[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
                found = found or torch.equal(expected, after)
        assert found


@given(st.integers(4, 20), st.integers(0, 99))
def test_cutout_leaves_the_rest(size, seed):
    images = torch.rand(3, 2, size, size) + 0.1
    cut = diff_augment(images, ["cutout"], source(seed))
    gone = cut == 0
    assert torch.equal(cut[~gone], images[~gone]) and torch.equal(gone[:, 0], gone[:, 1])
    length = int(size / 2 + 0.5)
    for one in gone[:, 0]:
        rows, columns = one.any(1).sum().item(), one.any(0).sum().item()
        assert one.sum() == rows * columns and length // 2 <= rows <= length and length // 2 <= columns <= length


def test_colour_is_a_change_of_each_image_within_its_bounds():
    images = torch.rand(200, 3, 6, 6) * 2 - 1
    altered = diff_augment(images, ["color"], source())
    contrast = altered.mean(1).std((1, 2)) / images.mean(1).std((1, 2))
    assert 0.5 <= contrast.min() < 0.6 and 1.4 < contrast.max() <= 1.5
    brightness = altered.mean((1, 2, 3)) - images.mean((1, 2, 3))
    assert -0.5 <= brightness.min() < -0.4 and 0.4 < brightness.max() <= 0.5
    colour = (
        (altered - altered.mean(1, keepdim=True)).std((1, 2, 3))
        / contrast
        / (images - images.mean(1, keepdim=True)).std((1, 2, 3))
    )
    assert colour.min() < 0.2 and 1.8 < colour.max() <= 2.001


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_pass(name):
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, [name], source()), images)
    (gradient,) = torch.autograd.grad(diff_augment(images, [name], source()).square().sum(), images)
    assert (gradient != 0).double().mean() > 0.4


def test_the_same_source_gives_the_same():
    images = torch.rand(2, 1, 8, 8)
    one, other, third = (diff_augment(images, AUGMENTATIONS, source(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, other) and not torch.equal(one, third)
    assert diff_augment(images, [], source()) is images

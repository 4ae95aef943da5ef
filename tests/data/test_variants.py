import pytest
import torch

from hyperconv.data.variants import variants


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(count=6, channels=3, side=16):
    return torch.rand(count, channels, side, side, generator=source(1)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_variants_are_photos_of_the_same_size(channels):
    given = photos(channels=channels)
    made = variants(given, source())
    assert made.shape == given.shape
    assert made.abs().max() <= 1


def test_the_source_decides():
    given = photos()
    assert torch.equal(variants(given, source(3)), variants(given, source(3)))
    assert not torch.equal(variants(given, source(3)), variants(given, source(4)))


def test_no_two_variants_of_a_photo_are_alike():
    made = variants(photos(1).expand(8, -1, -1, -1), source())
    distances = torch.cdist(made.flatten(1), made.flatten(1))
    assert distances[~torch.eye(8, dtype=torch.bool)].min() > 1


def test_photos_of_one_colour_stay_so():
    """No part of a variant lies outside its photo."""
    flat = torch.full((32, 3, 16, 16), 0.5)
    made = variants(flat, source())
    torch.testing.assert_close(made, made.mean(dim=(2, 3), keepdim=True).expand_as(made))

import pytest
import torch

from hyperconv.data.variants import variants, views


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


def test_a_view_is_most_of_the_image_mirrored_only_where_asked():
    """Of a ramp from left to right the view still rises, by what is left of it; mirrored, half of them fall."""
    ramp = torch.linspace(-1, 1, 16).expand(200, 3, 16, 16)
    upright = views(ramp, source(), mirror=False)
    assert (upright[..., 12] - upright[..., 3] > 0.15).all()
    mirrored = views(ramp, source(), mirror=True)
    assert 60 < int((mirrored[..., 12] < mirrored[..., 3]).all(2).all(1).sum()) < 140
    assert mirrored.shape == ramp.shape and mirrored.abs().max() <= 1


def test_views_differ_in_brightness_contrast_and_saturation_and_depend_on_the_source():
    given = photos(1).expand(300, -1, -1, -1) * 0.3
    made = views(given, source(3), mirror=True)
    assert torch.equal(views(given, source(3), mirror=True), made)
    levels = made.mean((1, 2, 3))
    assert levels.min() < -0.25 and levels.max() > 0.25
    contrasts = made.std((1, 2, 3))
    assert contrasts.max() > 1.6 * contrasts.min()
    grey = made.mean(1, keepdim=True)
    saturations = (made - grey).std((1, 2, 3)) / grey.std((1, 2, 3))
    assert saturations.max() > 1.6 * saturations.min()

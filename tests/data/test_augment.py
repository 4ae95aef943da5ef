from functools import partial

import pytest
import torch

from hyperconv.data import augment, canvas
from hyperconv.data.augment import augmented


def begin(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(channels=3):
    images = [torch.rand(channels, *size) * 2 - 1 for size in ((40, 50), (50, 36))]
    return canvas.stack(images)


@pytest.mark.parametrize("how", ["harmonize", "edit"])
@pytest.mark.parametrize("channels", [1, 3])
def test_photos_are_altered_inside_their_own_pixels_and_stay_in_range(how, channels):
    images, sizes = photos(channels)
    changed = 0
    for seed in range(40):
        result = augmented(images, sizes, how, partial(begin, seed))
        assert result.shape == images.shape and result.abs().max() <= 1
        assert not (result * (1 - canvas.mask(sizes, *images.shape[2:]))).any()
        changed += not torch.equal(result, images)
    assert changed > 30


@pytest.mark.parametrize("how", ["harmonize", "edit"])
def test_what_happens_to_a_photo_depends_on_its_stream_alone(how):
    images, sizes = photos()
    together = canvas.crop(augmented(images, sizes, how, partial(begin, 3)), sizes)
    for own, size, result in zip(canvas.crop(images, sizes), sizes, together):
        assert torch.equal(augmented(own[None], size[None], how, partial(begin, 3))[0], result)


@pytest.mark.parametrize("change", augment._COLOURS, ids=lambda change: change.__name__)
def test_every_change_of_colour_changes_a_photo_and_keeps_its_shape(change):
    image = torch.rand(3, 8, 9)
    results = [change(image, begin(seed)) for seed in range(5)]
    assert all(result.shape == image.shape and result.isfinite().all() for result in results)
    assert any(not torch.equal(result, image) for result in results)


def test_cut_outs_are_rectangles_of_one_colour(monkeypatch):
    monkeypatch.setattr(augment, "COLOURED", 0.0)
    image = torch.rand(3, 100, 120) * 2 - 1
    for seed in range(10):
        result = augmented(image[None], torch.tensor([[100, 120]]), "harmonize", partial(begin, seed))[0]
        cut = (result != image).any(dim=0)
        assert len(result[:, cut].unique(dim=1).T) <= 2
        assert cut.sum() <= 2 * 60 * 60


def test_tiles_of_an_edit_come_from_the_photo(monkeypatch):
    monkeypatch.setattr(augment, "EDIT_NOISE", 0.0)
    image = torch.arange(30.0 * 40).view(1, 30, 40).expand(3, -1, -1) / 1200
    result = augmented(image[None], torch.tensor([[30, 40]]), "edit", partial(begin, 1))[0]
    assert set(result.flatten().tolist()) <= set(image.flatten().tolist()) and not torch.equal(result, image)

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
def test_photos_are_altered_inside_their_own_pixels_and_stay_in_range(how, channels, monkeypatch):
    monkeypatch.setattr(augment, "EDIT_NOISE", 0.0)
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


@pytest.mark.parametrize("short", [24, 120, 200])
def test_cut_outs_have_an_eighth_to_half_of_the_short_side(short, monkeypatch):
    monkeypatch.setattr(augment, "COLOURED", 0.0)
    image, sides = torch.full((3, short, 2 * short), 2.0), []
    for seed in range(60):
        result = augmented(image[None], torch.tensor([[short, 2 * short]]), "harmonize", partial(begin, seed))[0]
        cut = (result != image).any(dim=0)
        sides += [cut.any(dim=axis).sum().item() / short for axis in (0, 1) if len(result[0][cut].unique()) == 1]
    assert len(sides) > 20 and min(sides) >= 0.1 and max(sides) <= 0.5
    assert min(sides) < 0.3 and max(sides) > 0.4


def test_tiles_move_a_little_both_ways(monkeypatch):
    """By 5 to 15 % of the photo's sides, and only where there is room."""
    monkeypatch.setattr(augment, "EDIT_NOISE", 0.0)
    rows, columns = torch.meshgrid(torch.arange(100.0), torch.arange(120.0), indexing="ij")
    image, moves = torch.stack([rows, columns]), set()
    for seed in range(30):
        result = augmented(image[None], torch.tensor([[100, 120]]), "edit", partial(begin, seed))[0]
        moved = (image - result)[:, (result != image).any(dim=0)]
        assert moved.abs().amax(dim=1).le(torch.tensor([15.0, 18.0])).all()
        moves |= {tuple(move) for move in moved.T.tolist()}
    assert any(min(move) < 0 for move in moves) and any(max(move) >= 5 for move in moves)


def test_tiles_of_an_edit_come_from_the_photo(monkeypatch):
    monkeypatch.setattr(augment, "EDIT_NOISE", 0.0)
    image = torch.arange(30.0 * 40).view(1, 30, 40).expand(3, -1, -1) / 1200
    result = augmented(image[None], torch.tensor([[30, 40]]), "edit", partial(begin, 1))[0]
    assert set(result.flatten().tolist()) <= set(image.flatten().tolist()) and not torch.equal(result, image)

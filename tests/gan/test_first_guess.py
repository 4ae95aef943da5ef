from dataclasses import replace

import pytest
import torch

from hyperconv.data import canvas
from hyperconv.data.collection import Collection
from hyperconv.gan import first_guess
from hyperconv.gan.first_guess import guess
from hyperconv.gan.meta import MetaGAN
from tests.gan.conftest import picture


@pytest.fixture(autouse=True)
def few_groups(monkeypatch):
    monkeypatch.setattr(first_guess, "GROUPS", 12)


@pytest.fixture
def config(config):
    return replace(config, first_scale_sees="embedding and thumbnail", hidden=32)


@pytest.fixture
def system(config, collection):
    return MetaGAN(config, 3, int(collection.sizes[0].max()))


def errors(system, collection):
    """RMSE of the coarsest reconstruction, and of the photos' mean colours."""
    photos, sizes, indices = collection.batch(range(len(collection)), 0)
    contexts = system.generator.embed(collection.embedding_inputs(indices, 32), photos)
    with torch.no_grad():
        images = system.photo_model(contexts, [sizes], torch.ones(len(sizes), 1)).reconstruct()
    images = canvas.crop(images, sizes)
    photos = canvas.crop(photos, sizes)
    grey = [photo.mean(dim=(1, 2), keepdim=True).expand_as(photo) for photo in photos]
    return [
        torch.stack([(a - b).square().mean() for a, b in zip(photos, others)]).mean().sqrt().item()
        for others in (images, grey)
    ]


def test_photos_never_seen_are_reconstructed_before_any_training(system, collection, config):
    unseen = Collection([picture(i, 48, 64) for i in (0.5, 1.5)], config.pyramid())
    before, _ = errors(system, unseen)
    guess(system, collection)
    after, mean_colour = errors(system, unseen)
    assert after < 0.8 * mean_colour < before


def test_the_guess_is_the_same_every_time(system, collection):
    guess(system, collection)
    once = {name: value.clone() for name, value in system.state_dict().items()}
    guess(system, collection)
    for name, value in system.state_dict().items():
        assert torch.equal(value, once[name]), name


def test_large_thumbnails_are_solved_for_at_a_lower_resolution(config, monkeypatch):
    """Where one scale is all there is, 64 pixels wide, there would be 3 * 64^2 + 1 equations."""
    config = replace(config, min_size=33, max_size=33, scale_count=1)
    collection = Collection([picture(i, 48, 64) for i in range(3)], config.pyramid())
    system, sizes, solve = MetaGAN(config, 3, 33), [], torch.linalg.solve
    monkeypatch.setattr(torch.linalg, "solve", lambda a, b: sizes.append(len(a)) or solve(a, b))
    guess(system, collection)
    after, mean_colour = errors(system, collection)
    assert sizes[-1] == 3 * 17**2 + 1 == max(sizes)
    assert after < 0.9 * mean_colour, (after, mean_colour)


def test_grey_photos(config):
    pictures = [picture(i, 40, 40) for i in range(2)]
    grey = Collection([replace(photo, pixels=photo.pixels[:1]) for photo in pictures], config.pyramid())
    system = MetaGAN(config, 1, int(grey.sizes[0].max()))
    guess(system, grey)
    assert all(value.isfinite().all() for value in system.state_dict().values())

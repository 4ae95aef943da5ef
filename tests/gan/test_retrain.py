import pytest
import torch

from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo, resize
from hyperconv.gan.photo_model import Carried, no_noise
from hyperconv.gan.presets import preset
from hyperconv.gan.retrain import fine_tune, repaint
from hyperconv.gan.single import SingleGANs


@pytest.fixture
def started():
    """(model of one photo, critic template and weights, the photo, a composite at the coarsest scale, config)."""
    config = preset(
        "tiny-harmonize", "consingan", max_size=32, min_size=16, hidden=6, learning_rate=5e-3, train_depth=2
    )
    ramp = torch.linspace(-0.8, 0.8, 48)
    collection = Collection([Photo("ramp", torch.stack([ramp.expand(40, 48)] * 3))], config.pyramid())
    system = SingleGANs(config, collection).requires_grad_(False)
    system.grow(3)
    numbers = system.contexts(collection, torch.tensor([0]))
    model = system.requires_grad_(False).photo_model(numbers, collection.sizes, torch.full((1, 3), 0.1))
    picture = resize(torch.rand(1, 3, 30, 36) * 2 - 1, model.extent(0))
    critic = system.discriminator_template, system.discriminator.weights(numbers)
    return model, critic, collection.batch([0], 2).images, picture, config


def test_the_newest_scales_and_the_tail_learn_the_photo(started):
    model, critic, photo, picture, config = started
    error = (model.reconstruct() - photo).square().mean()
    before = [weights.flat.clone() for weights in (*model.weights, model.tail)]
    steps = list(fine_tune(model, *critic, photo, picture, 12, config))
    assert [taken for taken, _ in steps] == list(range(1, 13))
    tuned = steps[-1][1]
    assert (tuned.reconstruct() - photo).square().mean() < error
    changed = [not torch.equal(a.flat, b) for a, b in zip((*tuned.weights, tuned.tail), before)]
    assert changed == [False, True, True, True]
    assert all(torch.equal(a.flat, b) for a, b in zip((*model.weights, model.tail), before))
    assert not tuned.weights[-1].flat.requires_grad and not tuned.tail.flat.requires_grad


def test_it_learns_as_the_run_did_slower_below_and_at_the_end(started):
    model, critic, photo, picture, config = started
    flats = [[weights.flat.clone() for weights in model.weights]]
    for _, tuned in fine_tune(model, *critic, photo, picture, 10, config):
        flats.append([weights.flat.clone() for weights in tuned.weights])

    def moved(scale, first, last):
        return (flats[last][scale] - flats[first][scale]).abs().max().item()

    assert moved(1, 0, 1) == pytest.approx(config.pace * moved(2, 0, 1), rel=0.05)
    assert moved(2, 8, 10) < 0.3 * moved(2, 5, 7)


def test_what_enters_for_editing_has_noise_on_it():
    config = preset("tiny-edit", "consingan", max_size=32, min_size=16, hidden=6)
    photos = [Photo("grey", torch.zeros(3, 40, 48)), Photo("tall", torch.zeros(3, 48, 40))]
    system = SingleGANs(config, Collection(photos, config.pyramid()))
    model = system.photo_model(torch.tensor([0, 1]), system.collection.sizes[:1], torch.ones(2, 1))
    for fixed, (height, width) in zip(model.z_fixed(), model.sizes[0].tolist()):
        assert fixed[:, :height, :width].std() == pytest.approx(0.1, abs=0.02)
        assert not fixed[:, height:].any() and not fixed[:, :, width:].any()


def test_it_depends_on_the_composite_and_the_seed_alone(started):
    model, critic, photo, picture, config = started
    first, again, other = (
        list(fine_tune(model, *critic, photo, given, 3, config))[-1][1].weights[-1].flat
        for given in (picture, picture, -picture)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_scale_learns_to_make_the_photo_of_few_colours():
    config = preset("tiny", "singan", max_size=32, min_size=16, scale_count=3, hidden=6, learning_rate=5e-3)
    ramp = torch.linspace(-0.8, 0.8, 48)
    collection = Collection([Photo("ramp", torch.stack([ramp.expand(40, 48)] * 3))], config.pyramid())
    system = SingleGANs(config, collection).requires_grad_(False)
    system.grow(3)
    numbers = system.contexts(collection, torch.tensor([0]))
    model = system.requires_grad_(False).photo_model(numbers, collection.sizes, torch.full((1, 3), 0.1))
    critic = system.discriminator_template, system.discriminator.weights(numbers)
    photo, seen = collection.batch([0], 1).images, []

    def few_colours(images):
        seen.append(tuple(images.shape))
        return images.sign()

    def error(painter):
        below = model.generator.enlarge(model.climb_fixed(stop=1).values, model.grid(0), model.grid(1))
        return (painter.next(Carried(below.sign(), model.grid(1), 0), no_noise).values - photo).square().mean()

    painted = list(repaint(model, 1, *critic, photo, few_colours, 12, config))[-1][1]
    assert error(painted) < error(model) and seen == [(2, *photo.shape[1:])] * 12
    changed = [not torch.equal(a.flat, b.flat) for a, b in zip(painted.weights, model.weights)]
    assert changed == [False, True, False]

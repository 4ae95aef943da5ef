from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperconv.data import canvas
from hyperconv.data.pyramid import PyramidShape
from hyperconv.gan.draw import FEW, Canvases, Draws
from hyperconv.gan.generator import Generator
from hyperconv.gan.graph import tensors

SHAPE = PyramidShape(max_size=100, min_size=20, scale_count=4)
sides = st.integers(40, 400)


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=40), st.data())
def test_canvases_hold_their_photos_and_few_sizes_occur(photos, data):
    levels = [SHAPE.sizes(height, width) for height, width in photos]
    sizes = [torch.tensor(scale) for scale in zip(*levels)]
    canvases, occurring = Canvases(sizes), [set(), set()]
    for _ in range(5):
        chosen = data.draw(st.lists(st.integers(0, len(photos) - 1), min_size=1, max_size=8))
        extents = canvases.extents(torch.tensor(chosen))
        assert len(extents) == SHAPE.scale_count
        for extent, level in zip(extents, sizes):
            assert (level[chosen] <= torch.tensor(extent)).all()
            assert (torch.tensor(extent) <= level.amax(dim=0)).all()
    for photo in range(len(photos)):
        for axis, side in enumerate(canvases.extents(torch.tensor([photo]))[-1]):
            occurring[axis].add(side)
    assert all(len(each) <= FEW for each in occurring)


def test_photos_of_one_size_have_canvases_of_that_size():
    sizes = [torch.tensor(level).expand(5, 2) for level in SHAPE.sizes(75, 100)]
    assert Canvases(sizes).extents(torch.tensor([1, 3])) == SHAPE.sizes(75, 100)


@pytest.fixture
def draws(config, collection):
    generator = Generator(3, config.hidden)

    def make(**changes):
        amplitudes = torch.rand(len(collection), config.scale_count)
        return Draws(
            collection,
            replace(config, batch_size=3, decay_at=0.5, **changes),
            1,
            generator,
            amplitudes,
            None,
            torch.ones(len(collection)),
        )

    return make


def test_a_step_is_drawn_from_the_seed_and_its_number_alone(draws):
    one, again = draws(), draws()
    one.step(4)
    for a, b in zip(tensors(one.step(7)), tensors(again.step(7)), strict=True):
        assert a.shape == b.shape
    assert torch.equal(one.step(7).noise[0].z, again.step(7).noise[0].z)
    assert not torch.equal(one.step(7).noise[0].z, one.step(8).noise[0].z)
    assert not torch.equal(one.step(7).noise[0].z, draws(seed=1).step(7).noise[0].z)


def test_photos_lie_on_the_canvases_as_in_the_collection(draws, collection):
    inputs = draws().step(0)
    batch = collection.batch(range(3), 1)
    assert torch.equal(inputs.sizes[:, 1], batch.sizes)
    for drawn, wanted in zip(canvas.crop(inputs.photos, batch.sizes), canvas.crop(batch.images, batch.sizes)):
        assert torch.equal(drawn, wanted)
    assert inputs.noise[0].above[0].shape[-2:] == (inputs.photos.shape[-2] + 10, inputs.photos.shape[-1] + 10)
    assert 0 <= inputs.noise[0].alpha.item() < 1


def test_the_learning_rate_falls_late(draws):
    made = draws()
    assert made.step(9).rate.item() == pytest.approx(made.config.learning_rate)
    assert made.step(10).rate.item() == pytest.approx(made.config.learning_rate * made.config.decay)

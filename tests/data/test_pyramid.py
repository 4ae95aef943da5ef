import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hyperconv.data.images import resize
from hyperconv.data.pyramid import MIN_SIDE, PyramidShape, build_pyramid, scale_count_for
from hyperconv.errors import InputError

PUBLISHED = [(19, 26), (27, 37), (40, 54), (60, 80), (87, 117), (128, 171), (187, 250)]
PUBLISHED_PLACES = [(21, 28), (30, 41), (44, 59), (63, 84), (90, 121), (130, 174), (187, 250)]


@pytest.mark.parametrize("height, width", [(187, 250), (480, 640), (750, 1000)])
def test_published_sizes(height, width):
    assert PyramidShape().sizes(height, width) == PUBLISHED
    assert PyramidShape(min_size=28).sizes(height, width) == PUBLISHED_PLACES
    assert PyramidShape().sizes(width, height) == [(w, h) for h, w in PUBLISHED]


def test_published_scale_counts_and_factor():
    assert scale_count_for(25, 250) == scale_count_for(28, 250) == 7
    assert PyramidShape().factor == pytest.approx(0.1 ** (1 / 6))


@settings(deadline=None)
@given(st.integers(11, 300), st.integers(0, 300))
def test_as_many_scales_as_the_ratio_asks(min_size, more):
    shape = PyramidShape(min_size + more, min_size, scale_count_for(min_size, min_size + more))
    assert 0.6 <= shape.factor <= 1 if more == 0 else 0.6 <= shape.factor < 1


@settings(deadline=None)
@given(st.integers(11, 60), st.integers(0, 400), st.integers(1, 12), st.integers(11, 3000), st.integers(11, 3000))
def test_sizes_grow_keep_the_aspect_ratio_and_stay_above_the_receptive_field(least, more, count, height, width):
    shape = PyramidShape(least + more, least, count)
    if max(height, width) < shape.long_sides[0]:
        with pytest.raises(InputError, match=f"photo.png is too small: {width}x{height} pixels"):
            shape.sizes(height, width, name="photo.png")
        return
    sizes = shape.sizes(height, width)
    assert len(sizes) == count and max(sizes[-1]) == shape.max_size
    for axis in (0, 1):
        sides = [size[axis] for size in sizes]
        assert sides == sorted(sides) and sides[0] >= MIN_SIDE
    for h, w in sizes:
        long, short = max(h, w), min(h, w)
        exact = long * min(height, width) / max(height, width)
        assert abs(short - exact) <= 1.01 or short == MIN_SIDE > exact
        assert (h <= w) == (height <= width) or h == w


def test_the_coarsest_scale_has_min_size_give_or_take_rounding():
    for least in range(11, 100):
        assert PyramidShape(250, least).long_sides[0] in (least, least + 1)


def test_a_panorama_is_widened_to_the_receptive_field():
    assert [h for h, _ in PyramidShape().sizes(20, 1000)] == [11] * 7


@pytest.mark.parametrize("height, width", [(10, 500), (500, 10), (20, 25)])
def test_too_small_photos_are_refused_with_the_numbers(height, width):
    with pytest.raises(InputError) as error:
        PyramidShape().sizes(height, width, name="tiny.png")
    assert str(error.value) == (
        f"tiny.png is too small: {width}x{height} pixels, needs a long side of 26 and a short side of 11"
    )


@pytest.mark.parametrize("numbers", [(250, 10, 7), (100, 101, 7), (250, 25, 0)])
def test_impossible_shapes_are_refused(numbers):
    with pytest.raises(InputError, match="pyramid"):
        PyramidShape(*numbers)


def test_levels_come_from_the_full_resolution():
    pixels = torch.rand(3, 300, 400, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sizes = PyramidShape().sizes(300, 400)
    pyramid = build_pyramid(pixels, sizes)
    assert [tuple(level.shape) for level in pyramid] == [(3, *size) for size in sizes]
    assert all(torch.equal(level, resize(pixels, size)) for level, size in zip(pyramid, sizes, strict=True))


def test_a_photo_of_the_finest_size_is_kept_as_it_is():
    pixels = torch.rand(1, 187, 250)
    assert torch.equal(build_pyramid(pixels, PyramidShape().sizes(187, 250))[-1], pixels)


@settings(deadline=None)
@given(st.integers(30, 400), st.integers(30, 400), st.integers(1, 9), st.sampled_from(["geometric", "consingan"]))
def test_pyramids_from_a_short_side_grow_from_it_to_the_photo(height, width, scale_count, steps):
    shape = PyramidShape(max_size=250, min_size=12, scale_count=scale_count, coarsest="short side", steps=steps)
    shrink = min(1, 250 / max(height, width))
    assume(min(height, width) * shrink >= 13)
    sizes = shape.sizes(height, width)
    assert len(sizes) == scale_count
    assert sizes[-1] == (round(height * shrink), round(width * shrink))
    if scale_count > 1:
        assert min(sizes[0]) == 12
    assert all(a <= b for low, high in pairwise(sizes) for a, b in zip(low, high))


def test_consingan_keeps_more_scales_small():
    """Hinz et al. (2021), section 3.2: r^(((N - 2) / log(N - 1)) log(N - 1 - i) + 1)."""
    shape = PyramidShape(max_size=250, min_size=25, scale_count=6, coarsest="short side", steps="consingan")
    sizes = shape.sizes(188, 250)
    factor = (25 / 188) ** (1 / 5)
    wanted = [188 * factor ** (4 / math.log(5) * math.log(5 - i) + 1) for i in range(5)] + [188]
    assert [height for height, _ in sizes] == [math.ceil(round(side, 6)) for side in wanted]
    geometric = replace(shape, steps="geometric").sizes(188, 250)
    assert all(small <= large for (small, _), (large, _) in zip(sizes, geometric))


@pytest.mark.parametrize("height, width", [(1, 1), (10, 500)])
def test_a_photo_that_no_option_can_help_is_told_what_is_needed(height, width):
    shape = PyramidShape(max_size=100, min_size=25, scale_count=3, coarsest="short side")
    with pytest.raises(InputError) as error:
        shape.sizes(height, width, "dot.png")
    assert str(error.value) == (
        f"dot.png is too small: {width}x{height} pixels, needs a short side of 25, and with any --min-size of 11"
    )


def test_a_photo_whose_short_side_is_too_short_is_named():
    shape = PyramidShape(max_size=100, min_size=25, scale_count=3, coarsest="short side")
    with pytest.raises(InputError, match=r"long\.png is too small: 800x160 pixels, 100x20 as trained.*--min-size"):
        shape.sizes(160, 800, "long.png")

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperconv.apps.chart import Canvas, Plot, Series, curves, histogram, number, scatter, ticks

BOX, BLUE, RED = (0, 0, 300, 200), (0, 0, 200), (200, 0, 0)


def painted(canvas):
    """Where the picture is clearly blue and clearly red, (height, width) booleans."""
    pixels = np.asarray(canvas.picture()).astype(int)
    return pixels[..., 2] - pixels[..., 0] > 60, pixels[..., 0] - pixels[..., 2] > 60


def test_the_picture_has_two_pixels_for_one_of_the_layout():
    assert Canvas(300, 200).picture().size == (600, 400)


def test_dots_stand_where_their_numbers_are():
    canvas = Canvas(300, 200)
    scatter(canvas, BOX, "title", "x", [Series("a", BLUE, [(1.0, 1.0)]), Series("b", RED, [(4.0, 3.0)])], {})
    (blue_y, blue_x), (red_y, red_x) = (np.argwhere(part).mean(0) for part in painted(canvas))
    assert red_x > blue_x + 250 and red_y < blue_y - 100


def test_bars_are_as_high_as_their_counts():
    canvas = Canvas(300, 200)
    histogram(canvas, BOX, "title", [Series("a", BLUE, [0.0] * 4 + [1.0] * 2)])
    heights = painted(canvas)[0][80:].sum(0)
    left, right = heights[:300].max(), heights[300:].max()
    assert left == pytest.approx(2 * right, abs=3) and (heights > 5).sum() < 100


def test_two_series_share_one_axis():
    canvas = Canvas(300, 200)
    histogram(canvas, BOX, "title", [Series("a", BLUE, [1.0, 1.1]), Series("b", RED, [5.0])])
    blue, red = (np.argwhere(part[80:])[:, 1] for part in painted(canvas))
    assert blue.max() < red.min()


def test_curves_fall_with_their_numbers():
    canvas = Canvas(300, 200)
    curves(canvas, BOX, "title", "K", BLUE, [[0.8, 0.4, 0.1], [0.6, 0.2, 0.1], [math.nan, 1.0, 1.0]])
    blue = painted(canvas)[0]
    tops = [np.argwhere(blue[:, column]).min() for column in (80, 320, 560)]
    assert tops == sorted(tops) and tops[2] - tops[0] > 150


@pytest.mark.parametrize("values", [[], [0.0], [3.0], [-1.0, -1.0], [1e-9, 2e-9], [5.0, 5.0 + 1e-13]])
def test_any_numbers_can_be_drawn(values):
    canvas = Canvas(300, 200)
    histogram(canvas, BOX, "title", [Series("a", BLUE, values)])
    scatter(canvas, BOX, "title", "x", [Series("a", BLUE, [(v, v) for v in values])], {})
    curves(canvas, BOX, "title", "K", BLUE, [values] if values else [])


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(least, length, about):
    most = least + length
    marks = ticks(least, most, about)
    assert len(marks) <= about + 1
    assert all(least - 1e-6 * length <= mark <= most + 1e-6 * length for mark in marks)


def test_ticks_and_numbers_to_read():
    assert ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(0, 3, 5, whole=True) == [0, 1, 2, 3]
    assert [number(value) for value in (0, 0.0123456, 12.3456, 0.00001)] == ["0", "0.0123", "12.3", "1e-05"]


def test_a_point_of_no_width_is_in_the_middle():
    plot = Plot(Canvas(300, 200), BOX, "title", (2.0, 2.0), (0.0, 0.0))
    assert plot.at(2.0, 0.0) == pytest.approx(((plot.left + plot.right) / 2, (plot.top + plot.bottom) / 2))

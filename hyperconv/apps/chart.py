"""Plots of numbers on one white picture: dots, histograms and curves, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

INK, FAINT, GRID = (60, 60, 60), (120, 120, 120), (232, 232, 232)
SCALE = 4  # drawn so many times larger, then halved: every pixel of the layout is two of the picture
FONT = 11  # px, as all sizes of the layout
MARGIN, TITLE, AXIS = 14, 40, 22  # px: left and right of a plot; above and below it

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Numbers of one kind: their label and colour, and what the plot takes of them."""

    label: str
    colour: Colour
    values: Sequence


class Canvas:
    """A white picture of width x height pixels of the layout."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), "white")
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def picture(self) -> Image.Image:
        return self.image.reduce(2)

    def text(self, at: Point, text: str, colour: Colour = INK, anchor: str = "la", size: int = FONT) -> None:
        self.draw.text(_scaled(at), text, fill=colour, font=ImageFont.load_default(size * SCALE), anchor=anchor)

    def text_width(self, text: str, size: int = FONT) -> float:
        return ImageFont.load_default(size * SCALE).getlength(text) / SCALE

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0, alpha: int = 255) -> None:
        self.draw.line([_scaled(p) for p in points], fill=(*colour, alpha), width=round(width * SCALE), joint="curve")

    def dot(self, at: Point, colour: Colour, radius: float = 3.5, alpha: int = 190) -> None:
        x, y = at
        box = _scaled((x - radius, y - radius)) + _scaled((x + radius, y + radius))
        self.draw.ellipse(box, fill=(*colour, alpha), outline="white", width=SCALE // 2)

    def bar(self, left_top: Point, right_bottom: Point, colour: Colour, alpha: int) -> None:
        self.draw.rectangle(_scaled(left_top) + _scaled(right_bottom), fill=(*colour, alpha))

    def legend(self, at: Point, series: Sequence[Series]) -> None:
        x, y = at
        for one in series:
            self.dot((x + 4, y + FONT / 2 + 1), one.colour, radius=4, alpha=255)
            self.text((x + 12, y), one.label)
            x += self.text_width(one.label) + 32


class Plot:
    """One plot in the box (left, top, width, height) of a canvas, its axes from `x` and `y`, (least, most) each."""

    def __init__(self, canvas: Canvas, box: tuple[int, int, int, int], title: str, x: Point, y: Point) -> None:
        self.canvas, (left, top, width, height) = canvas, box
        self.left, self.right = left + MARGIN + 16, left + width - MARGIN
        self.top, self.bottom = top + TITLE, top + height - AXIS
        self.x, self.y = _widened(x), _widened(y)
        canvas.text((left + MARGIN, top + 4), title)

    def at(self, x: float, y: float) -> Point:
        """Where a point is on the canvas."""
        share_x, share_y = ((v - low) / (high - low) for v, (low, high) in ((x, self.x), (y, self.y)))
        return self.left + share_x * (self.right - self.left), self.bottom - share_y * (self.bottom - self.top)

    def remark(self, text: str, colour: Colour = FAINT, place: int = 0) -> None:
        """Small text under the title; of several, `place` is the column."""
        self.canvas.text((self.left - 16 + 90 * place, self.top - 20), text, colour, size=FONT - 1)

    def axes(self, x_whole: bool = False, y_ticks: bool = True, x_label: str = "") -> None:
        for tick in ticks(*self.x, 5, whole=x_whole):
            x, _ = self.at(tick, self.y[0])
            self.canvas.line([(x, self.top), (x, self.bottom)], GRID)
            self.canvas.text((x, self.bottom + 5), number(tick), FAINT, "ma", FONT - 1)
        for tick in ticks(*self.y, 5) if y_ticks else ():
            _, y = self.at(self.x[0], tick)
            self.canvas.line([(self.left, y), (self.right, y)], GRID)
            self.canvas.text((self.left - 4, y), number(tick), FAINT, "rm", FONT - 1)
        self.canvas.line([(self.left, self.bottom), (self.right, self.bottom)], FAINT)
        self.canvas.text((self.right, self.bottom + 17), x_label, FAINT, "ra", FONT - 1)


def scatter(
    canvas: Canvas, box: tuple[int, int, int, int], title: str, x_label: str, series: Sequence[Series], names: dict
) -> None:
    """One dot for each (x, y) of the series' values; `names` gives some points a name to stand beside them."""
    points = [point for one in series for point in one.values]
    plot = Plot(canvas, box, title, *([_range([p[axis] for p in points], from_zero=True) for axis in (0, 1)]))
    plot.bottom -= 14
    plot.axes(x_label=x_label)
    for one in series:
        for point in one.values:
            canvas.dot(plot.at(*point), one.colour)
    for point, name in names.items():
        x, y = plot.at(*point)
        rightmost = x + 8 + canvas.text_width(name, FONT - 2) > plot.right
        canvas.text((x - 6 if rightmost else x + 6, y), name, FAINT, "rm" if rightmost else "lm", FONT - 2)


def histogram(
    canvas: Canvas, box: tuple[int, int, int, int], title: str, series: Sequence[Series], bins: int = 14
) -> None:
    """How often values fall where, the series on one axis; under the title the median of each."""
    least, most = _widened(_range([value for one in series for value in one.values]))
    step = (most - least) / bins
    counts = [[0] * bins for _ in series]
    for one, heights in zip(series, counts, strict=True):
        for value in one.values:
            heights[min(bins - 1, int((value - least) / step))] += 1
    plot = Plot(canvas, box, title, (least, most), (0, max((max(heights) for heights in counts), default=1) or 1))
    plot.axes(y_ticks=False)
    for place, (one, heights) in enumerate(zip(series, counts, strict=True)):
        for i, height in enumerate(heights):
            if height:
                corners = plot.at(least + i * step, height), plot.at(least + (i + 1) * step, 0)
                canvas.bar((corners[0][0] + 0.5, corners[0][1]), (corners[1][0] - 0.5, corners[1][1]), one.colour, 140)
        if one.values:
            plot.remark(f"median {number(_median(one.values))}", one.colour, place)


def curves(
    canvas: Canvas,
    box: tuple[int, int, int, int],
    title: str,
    x_label: str,
    colour: Colour,
    rows: Sequence[Sequence[float]],
) -> None:
    """Values at 0, 1, 2, ... : one faint curve for each row, and a strong one for their mean."""
    rows = [row for row in rows if all(map(math.isfinite, row))]
    length = max(map(len, rows), default=1)
    y = _range([value for row in rows for value in row], from_zero=True)
    plot = Plot(canvas, box, title, (0, max(1, length - 1)), y)
    plot.bottom -= 14
    plot.axes(x_whole=True, x_label=x_label)
    for row in rows:
        canvas.line([plot.at(i, value) for i, value in enumerate(row)], colour, 0.8, alpha=70)
    means = [sum(column) / len(column) for column in zip(*rows)]
    if means:
        canvas.line([plot.at(i, value) for i, value in enumerate(means)], colour, 2.2)
    for i, value in enumerate(means):
        canvas.dot(plot.at(i, value), colour, alpha=255)


def ticks(least: float, most: float, about: int, whole: bool = False) -> list[float]:
    """Round numbers in [least, most], some `about` of them: steps of 1, 2 or 5 times a power of ten."""
    rough = (most - least) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float) -> str:
    """Three digits, without needless zeros and exponents."""
    return "0" if value == 0 else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def _range(values: Sequence[float], from_zero: bool = False) -> Point:
    """Least and most of the finite values, with a little room; (0, 1) where there are none."""
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return 0.0, 1.0
    least, most = min(values), max(values)
    room = 0.06 * (most - least)
    if from_zero and least >= 0:
        return 0.0, max(most, 1e-12) * 1.08
    return (max(least - room, 0.0) if least >= 0 else least - room), most + room


def _widened(interval: Point) -> Point:
    """The interval, or where it is a single point one around it."""
    least, most = interval
    if most - least > 1e-9 * max(abs(least), abs(most)) and most > least:
        return least, most
    room = abs(least) * 0.1 or 1.0
    return least - room, most + room


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _scaled(point: Point) -> tuple[float, float]:
    return point[0] * SCALE, point[1] * SCALE

"""Contact sheets and strips: images of any sizes with captions, laid out on one white PNG."""

from collections.abc import Sequence
from itertools import zip_longest
from os import PathLike

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from hyperconv.data.images import save_png, to_uint8

GAP = 12  # px between cells and around the sheet
FONT_SIZE = 12  # px
LINE = 18  # px: height of one line of caption
GREY = (110, 110, 110)
COMFORTABLE = 160  # px: images smaller than this are enlarged by one whole factor for the eye

Row = tuple[str | Sequence[str], Sequence[Tensor | None]]


def contact_sheet(rows: Sequence[Row], headings: Sequence[str] = (), path: str | PathLike | None = None) -> Tensor:
    """Lay out rows of images under column headings, a small caption under the first image of each row.

    rows: (caption, images) each, or (captions, images) with one under every image; an image is (1 or 3, H, W) float
    in [-1, 1], or None for an empty cell.
    headings: one short text per column, '' where a column has none.
    Returns the sheet, (3, H, W) float32 in [-1, 1], and writes it to `path` as a PNG when one is given.
    """
    return _finish(_lay_out([_captioned(*row) for row in rows], headings), path)


def strip(frames: Sequence[Tensor], captions: Sequence[str] = (), path: str | PathLike | None = None) -> Tensor:
    """Lay out frames from left to right, each over its caption; the rest as for `contact_sheet`."""
    return _finish(_lay_out([_captioned(captions, frames)], ()), path)


def photo_rows(
    name: str, photo: Tensor, reconstruction: Tensor, samples: Sequence[Tensor], samples_per_row: int = 6
) -> list[Row]:
    """Rows for one photo, `photo | reconstruction | samples...`; further samples go on below."""
    chunks = [samples[start : start + samples_per_row] for start in range(0, len(samples), samples_per_row)] or [()]
    rows: list[Row] = [(name, [photo, reconstruction, *chunks[0]])]
    rows += [("", [None, None, *chunk]) for chunk in chunks[1:]]
    return rows


def image_rows(caption: str, images: Sequence[Tensor], per_row: int = 8) -> list[Row]:
    """Rows for images of one kind, the caption under the first of them."""
    starts = range(0, len(images), per_row)
    return [("" if start else caption, list(images[start : start + per_row])) for start in starts]


PHOTO_HEADINGS = ("photo", "reconstruction", "samples")


def _captioned(captions: str | Sequence[str], images: Sequence[Tensor | None]) -> list[tuple[Tensor | None, str]]:
    """Each image with its caption, '' where there is none."""
    captions = [captions] if isinstance(captions, str) else captions
    return list(zip_longest(images, captions[: len(images)], fillvalue=""))


def _finish(sheet: Image.Image, path: str | PathLike | None) -> Tensor:
    pixels = torch.from_numpy(np.array(sheet)).permute(2, 0, 1).float() / 127.5 - 1
    if path is not None:
        save_png(pixels, path)
    return pixels


def _lay_out(cells: list[list[tuple[Tensor | None, str]]], headings: Sequence[str]) -> Image.Image:
    """Draw the grid: a column is as wide as its widest image, a row as high as its highest."""
    shown = [[None if image is None else _to_pil(image) for image, _ in row] for row in cells]
    factor = _enlargement([image for row in shown for image in row if image is not None])
    shown = [[_enlarge(image, factor) for image in row] for row in shown]

    column_count = max((len(row) for row in shown), default=0)
    widths = [
        max((row[column].width for row in shown if column < len(row) and row[column]), default=0)
        for column in range(column_count)
    ]
    heights = [max((image.height for image in row if image), default=0) for row in shown]
    captioned = [any(caption for _, caption in row) for row in cells]
    top = GAP + (LINE if any(headings) else 0)
    sheet = Image.new(
        "RGB",
        (
            GAP + sum(width + GAP for width in widths),
            top + sum(height + GAP + LINE * has for height, has in zip(heights, captioned)),
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    lefts = [GAP + sum(width + GAP for width in widths[:column]) for column in range(column_count)]

    for left, width, heading in zip(lefts, widths, headings):
        _write(draw, (left, GAP - 4), heading, width)
    for row, height, has_caption, captions in zip(shown, heights, captioned, cells):
        for left, width, image, (_, caption) in zip(lefts, widths, row, captions):
            if image:
                sheet.paste(image, (left, top))
            _write(draw, (left, top + height + 2), caption, width)
        top += height + GAP + LINE * has_caption
    return sheet


def _to_pil(image: Tensor) -> Image.Image:
    pixels = image.detach().cpu()
    pixels = pixels.expand(3, -1, -1) if pixels.shape[0] == 1 else pixels
    return Image.fromarray(to_uint8(pixels).permute(1, 2, 0).contiguous().numpy())


def _enlargement(images: list[Image.Image]) -> int:
    longest = max((max(image.size) for image in images), default=COMFORTABLE)
    return max(1, round(COMFORTABLE / longest))


def _enlarge(image: Image.Image | None, factor: int) -> Image.Image | None:
    if image is None or factor == 1:
        return image
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)


def _write(draw: ImageDraw.ImageDraw, position: tuple[int, int], text: str, width: int) -> None:
    """Write `text`, its middle cut out when it is wider than `width` pixels."""
    font = ImageFont.load_default(FONT_SIZE)
    draw.text(position, shorten(text, lambda part: font.getlength(part) <= width), fill=GREY, font=font)


def shorten(text: str, fits) -> str:
    """The longest form of `text` for which `fits(form)` holds, keeping its beginning and its end."""
    if fits(text):
        return text
    for kept in range(len(text) - 1, 1, -1):
        form = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if fits(form):
            return form
    return ""

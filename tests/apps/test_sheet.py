import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hyperconv.apps.sheet import GAP, LINE, PHOTO_HEADINGS, contact_sheet, photo_rows, shorten, strip
from hyperconv.data.images import read_photo


def plain(value, height, width, channels=3):
    return torch.full((channels, height, width), value)


def test_images_keep_their_pixels_and_stand_a_gap_apart():
    image = torch.rand(3, 200, 170) * 2 - 1
    sheet = contact_sheet([("", [plain(-1.0, 200, 180), image])])
    assert sheet.shape == (3, GAP + 200 + GAP, GAP + 180 + GAP + 170 + GAP)
    left = GAP + 180 + GAP
    assert (sheet[:, GAP : GAP + 200, left : left + 170] - image).abs().max() < 1 / 127
    assert (sheet[:, GAP : GAP + 200, GAP : GAP + 180] == -1).all()
    assert (sheet[:, :, GAP + 180 : left] == 1).all() and (sheet[:, :GAP] == 1).all()


def test_columns_are_as_wide_as_their_widest_image_and_empty_cells_stay_white():
    sheet = contact_sheet([("a", [plain(-1.0, 160, 100), plain(-1.0, 50, 50)]), ("", [None, plain(-1.0, 90, 120)])])
    assert sheet.shape[2] == GAP + 100 + GAP + 120 + GAP
    assert sheet.shape[1] == GAP + 160 + LINE + GAP + 90 + GAP
    second = GAP + 160 + LINE + GAP
    assert (sheet[:, second:, : GAP + 100 + GAP] == 1).all()
    assert (sheet[:, second : second + 90, GAP + 100 + GAP : -GAP] == -1).all()


def test_headings_and_captions_are_written_in_grey():
    bare = contact_sheet([("", [plain(1.0, 160, 160)])])
    worded = contact_sheet([("a lake", [plain(1.0, 160, 160)])], ["photo"])
    assert worded.shape[1] == bare.shape[1] + 2 * LINE
    ink = (worded < 0.9).all(dim=0)
    assert ink[: GAP + LINE].any() and ink[-GAP - LINE :].any()
    assert worded.min() > -0.3
    assert torch.equal(worded[0], worded[1])


def test_small_images_are_enlarged_by_one_whole_factor():
    sheet = contact_sheet([("", [plain(-1.0, 40, 30), plain(-1.0, 20, 30)])])
    assert sheet.shape == (3, 2 * GAP + 160, 3 * GAP + 240)


def test_grey_images_and_the_file(tmp_path):
    sheet = contact_sheet([("grey", [plain(0.0, 160, 160, channels=1)])], path=tmp_path / "new" / "sheet.png")
    assert torch.equal(read_photo(tmp_path / "new" / "sheet.png").pixels.expand(3, -1, -1), sheet)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["sheet.png"]


def test_a_strip_has_a_caption_under_every_frame(tmp_path):
    frames = [plain(1.0, 160, 160)] * 3
    sheet = strip(frames, ["a", "0.5", "b"], tmp_path / "strip.png")
    ink = (sheet < 0.9).all(dim=0)
    for column in range(3):
        left = GAP + column * (160 + GAP)
        assert ink[GAP + 160 :, left : left + 160].any()
    assert Image.open(tmp_path / "strip.png").size == (sheet.shape[2], sheet.shape[1])


def test_many_samples_continue_below_the_first_ones():
    image = plain(0.0, 20, 30)
    rows = photo_rows("lake", image, image, [image] * 8, samples_per_row=3)
    assert [len(images) for _, images in rows] == [5, 5, 4]
    assert [caption for caption, _ in rows] == ["lake", "", ""]
    assert rows[1][1][:2] == [None, None]
    assert len(PHOTO_HEADINGS) == 3
    assert photo_rows("lake", image, image, []) == [("lake", [image, image])]


def test_no_rows_make_an_empty_sheet():
    assert contact_sheet([]).shape == (3, GAP, GAP)


@given(st.text(max_size=60), st.integers(0, 40))
def test_shortened_text_fits_and_keeps_both_ends(text, room):
    short = shorten(text, lambda form: len(form) <= room)
    assert len(short) <= room
    if len(text) <= room:
        assert short == text
    elif room >= 3:
        assert len(short) == room
        assert text.startswith(short[: room // 2]) and text.endswith(short[room // 2 + 1 :])


@pytest.mark.parametrize("name", ["a" * 300, "Ünïcode 山 lake"])
def test_long_and_foreign_names_draw_inside_their_column(name):
    sheet = contact_sheet([(name, [plain(1.0, 160, 160)])])
    assert sheet.shape[2] == 2 * GAP + 160
    assert (sheet[:, :, -GAP + 1 :] == 1).all()


def test_every_image_of_a_row_may_have_a_caption():
    images = [plain(1.0, 160, 160), None, plain(1.0, 160, 160)]
    ink = [(contact_sheet([(captions, images)]) < 0.9).all(dim=0)[GAP + 160 :] for captions in (("a", "", "b"), "a")]
    last = 2 * (GAP + 160) - 160
    assert ink[0][:, :160].any() and ink[0][:, last:].any()
    assert ink[1][:, :160].any() and not ink[1][:, last:].any()

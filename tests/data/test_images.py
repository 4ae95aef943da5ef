import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hyperconv.data.images import (
    common_channels,
    find_photos,
    read_photo,
    read_photos,
    resize,
    save_png,
    to_uint8,
    unique_names,
    with_channels,
)
from hyperconv.errors import InputError

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (14, 18, 3), np.uint8)
GREY = COLOUR[..., 0]
ALPHA = RANDOM.integers(0, 256, (14, 18), np.uint8)
OVER_WHITE = ["alpha composited over white"]


def pixels_of(values):
    """(H, W) or (H, W, C) in [0, 1] -> (C, H, W) in [-1, 1]."""
    values = np.asarray(values, np.float64).reshape(*values.shape[:2], -1)
    return torch.from_numpy(values.transpose(2, 0, 1) * 2 - 1).float()


def read(image, path, **options):
    image.save(path, **options)
    return read_photo(path)


def assert_pixels(photo, values, tolerance=1e-6):
    assert photo.pixels.dtype == torch.float32 and photo.pixels.is_contiguous()
    torch.testing.assert_close(photo.pixels, pixels_of(values), rtol=0, atol=tolerance)


def palette_image(indices, colours):
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "PNG"])
def test_colour(tmp_path, suffix):
    photo = read(Image.fromarray(COLOUR), tmp_path / f"photo.{suffix}")
    assert_pixels(photo, COLOUR / 255)
    assert photo.name == "photo" and photo.path == tmp_path / f"photo.{suffix}" and photo.notes == []


def test_grey_is_one_channel_unless_asked(tmp_path):
    path = tmp_path / "grey.png"
    assert_pixels(read(Image.fromarray(GREY), path), GREY / 255)
    assert torch.equal(read_photo(path, channels=3).pixels, read_photo(path).pixels.expand(3, -1, -1))


def test_colour_to_grey_is_luma(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")
    assert_pixels(read_photo(tmp_path / "colour.png", channels=1), COLOUR @ np.array([0.299, 0.587, 0.114]) / 255)


def test_jpeg_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the first row is the right side
    ramp = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (16, 1))
    photo = read(Image.fromarray(ramp), tmp_path / "turned.jpg", exif=exif, quality=95)
    assert_pixels(photo, ramp.T / 255, tolerance=0.06)


def test_damaged_exif_does_not_lose_the_photo(tmp_path):
    photo = read(Image.fromarray(COLOUR), tmp_path / "photo.jpg", exif=b"Exif\0\0nonsense")
    assert photo.pixels.shape == (3, 14, 18)


@pytest.mark.parametrize("values", [COLOUR, GREY], ids=["RGBA", "LA"])
def test_alpha_is_composited_over_white(tmp_path, values):
    image = Image.fromarray(values)
    image.putalpha(Image.fromarray(ALPHA))
    photo = read(image, tmp_path / "photo.png")
    share = ALPHA[..., None] / 255
    assert_pixels(photo, values.reshape(14, 18, -1) / 255 * share + 1 - share)
    assert photo.notes == OVER_WHITE


def test_opaque_alpha_is_dropped_without_a_note(tmp_path):
    image = Image.fromarray(COLOUR)
    image.putalpha(255)
    photo = read(image, tmp_path / "photo.png")
    assert_pixels(photo, COLOUR / 255)
    assert photo.notes == []


def test_palette_with_and_without_a_transparent_colour(tmp_path):
    colours, indices = RANDOM.integers(0, 256, (5, 3)), RANDOM.integers(0, 5, (14, 18))
    image = palette_image(indices, colours)
    assert_pixels(read(image, tmp_path / "opaque.png"), colours[indices] / 255)
    photo = read(image, tmp_path / "transparent.png", transparency=2)
    colours[2] = 255
    assert_pixels(photo, colours[indices] / 255)
    assert photo.notes == OVER_WHITE


def test_transparent_grey_level(tmp_path):
    levels = (GREY // 64) * 64
    photo = read(Image.fromarray(levels), tmp_path / "photo.png", transparency=64)
    assert_pixels(photo, np.where(levels == 64, 255, levels) / 255)
    assert photo.notes == OVER_WHITE


def test_sixteen_bits_keep_their_precision(tmp_path):
    levels = np.arange(30_000, 30_000 + 14 * 18, dtype=np.uint16).reshape(14, 18)
    for name in ("photo.png", "photo.tif"):
        photo = read(Image.fromarray(levels), tmp_path / name)
        assert_pixels(photo, levels / 65535, tolerance=2e-7)
        assert len(photo.pixels.unique()) == 14 * 18


def test_wide_integers_and_floats(tmp_path):
    wide = np.linspace(-100_000, 900_000, 14 * 18, dtype=np.int32).reshape(14, 18)
    photo = read(Image.fromarray(wide), tmp_path / "wide.tif")
    assert_pixels(photo, (wide + 100_000) / 1e6)
    assert photo.notes == ["values -100000 to 900000 rescaled to black to white"]
    unit = RANDOM.random((14, 18), np.float32)
    photo = read(Image.fromarray(unit), tmp_path / "unit.tif")
    assert_pixels(photo, unit)
    assert photo.notes == []
    unit[3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read(Image.fromarray(unit), tmp_path / "nan.tif")


def test_cmyk_and_one_bit(tmp_path):
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    assert_pixels(read(cmyk, tmp_path / "cmyk.tif"), np.asarray(cmyk.convert("RGB")) / 255)
    bits = GREY > 128
    assert_pixels(read(Image.fromarray(bits), tmp_path / "bits.png"), bits.astype(float))


def test_first_frame_of_an_animation(tmp_path):
    frames = [palette_image(np.full((14, 18), i), np.array([[255, 0, 0], [0, 0, 255]])) for i in (0, 1)]
    photo = read(frames[0], tmp_path / "photo.gif", save_all=True, append_images=frames[1:])
    assert_pixels(photo, np.broadcast_to([1.0, 0, 0], (14, 18, 3)))
    assert photo.notes == ["the first of 2 frames"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused_in_one_line(tmp_path, suffix, share):
    whole, part = tmp_path / f"whole.{suffix}", tmp_path / f"part.{suffix}"
    Image.fromarray(RANDOM.integers(0, 256, (40, 40, 3), np.uint8)).save(whole)
    part.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(InputError) as error:
        read_photo(part)
    assert str(error.value).startswith(f"{part}: ") and "\n" not in str(error.value)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("foreign") / "photo.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an image|cannot be read"):
        read_photo(path)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_png_reads_or_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "photo.png"
    Image.fromarray(COLOUR).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        photo = read_photo(path)
    except InputError as error:
        assert "photo.png" in str(error)
    else:
        assert photo.pixels.shape[0] in (1, 3) and photo.pixels.isfinite().all()


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    Image.fromarray(COLOUR).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="million pixels"):
        read_photo(tmp_path / "bomb.png")


def test_absent_files_and_folders_in_place_of_files(tmp_path):
    with pytest.raises(InputError, match="absent.png: no such file"):
        read_photo(tmp_path / "absent.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path)
    with pytest.raises(InputError, match="absent: no such file or folder"):
        find_photos(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no images"):
        find_photos(tmp_path)
    with pytest.raises(InputError, match="no photos given"):
        find_photos([])


def fill(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.fromarray(COLOUR).save(folder / name, format="png")


def test_a_folder_is_listed_in_natural_order(tmp_path):
    fill(tmp_path / "set", "b10.png", "b2.JPG", "b.png", "a.Png", ".hidden.png", "notes.txt")
    (tmp_path / "set" / "folder.png").mkdir()
    fill(tmp_path / "set" / "deeper", "c.png")
    assert [path.name for path in find_photos(tmp_path / "set")] == ["a.Png", "b.png", "b2.JPG", "b10.png"]


def test_files_and_folders_together_each_file_once(tmp_path):
    fill(tmp_path / "set", "a.png", "b.png")
    fill(tmp_path, "odd.name")
    paths = find_photos([str(tmp_path / "odd.name"), tmp_path / "set" / "b.png", tmp_path / "set"])
    assert [path.name for path in paths] == ["odd.name", "b.png", "a.png"]


def test_one_broken_photo_does_not_lose_the_others(tmp_path):
    fill(tmp_path, "a.png", "c.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    photos, problems = read_photos(tmp_path)
    assert [photo.name for photo in photos] == ["a", "c"]
    assert len(problems) == 1 and "b.png" in problems[0] and "\n" not in problems[0]


def test_only_broken_photos_are_an_error(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(InputError, match=r"a.png: not an image.*and 2 more"):
        read_photos(tmp_path)
    with pytest.raises(InputError, match="b.png: not an image, or of an unknown format$"):
        read_photos(tmp_path / "b.png")


def test_names_are_made_unique_on_every_file_system(tmp_path):
    for folder, names in {"one": ["sea.png", "sea-2.png"], "two": ["sea.png", "SEA.png"]}.items():
        fill(tmp_path / folder, *names)
    photos, _ = read_photos([tmp_path / "one", tmp_path / "two"])
    names = [photo.name for photo in photos]
    assert names[:2] == ["sea", "sea-2"] and len({name.casefold() for name in names}) == len(names) == 4


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-3", "b"])))
def test_unique_names(names):
    unique = unique_names(names)
    assert len({name.casefold() for name in unique}) == len(names) == len(unique)
    assert all(new == name or new.startswith(f"{name}-") for name, new in zip(names, unique, strict=True))
    assert unique_names(unique) == unique


def test_common_channels(tmp_path):
    grey, colour = (read(Image.fromarray(array), tmp_path / f"{i}.png") for i, array in enumerate((GREY, COLOUR)))
    assert [common_channels(photos) for photos in ([grey, grey], [grey, colour], [colour])] == [1, 3, 3]


def test_with_channels_refuses_other_counts():
    for channels, own in ((3, 4), (2, 3)):
        with pytest.raises(ValueError, match="channels"):
            with_channels(torch.zeros(own, 4, 4), channels)


side = st.integers(1, 40)


@settings(deadline=None)
@given(st.sampled_from([(), (2,), (2, 3)]), st.tuples(side, side), st.tuples(side, side))
def test_resize_stays_in_range_and_keeps_constants(leading, old, new):
    pixels = torch.rand(*leading, 3, *old).round() * 2 - 1
    resized = resize(pixels, new)
    assert resized.shape == (*leading, 3, *new) and resized.abs().max() <= 1
    assert torch.equal(resized, resize(pixels, new))
    torch.testing.assert_close(resize(torch.full((1, *old), 0.3), new), torch.full((1, *new), 0.3), rtol=0, atol=1e-6)


def test_resize_is_antialiased():
    checkerboard = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 2.0 - 1
    assert resize(checkerboard[None], (16, 16))[:, 2:-2, 2:-2].abs().max() < 0.01


def test_every_level_of_eight_bits_survives_a_round_trip(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    photo = read(Image.fromarray(levels), tmp_path / "levels.png")
    assert np.array_equal(to_uint8(photo.pixels)[0], levels)
    save_png(photo.pixels, tmp_path / "again.png")
    assert torch.equal(read_photo(tmp_path / "again.png").pixels, photo.pixels)


def test_save_png_makes_folders_and_clamps(tmp_path):
    save_png(torch.tensor([-3.0, 0.0, 3.0]).view(3, 1, 1).expand(3, 2, 5), tmp_path / "a" / "b" / "c.png")
    with Image.open(tmp_path / "a" / "b" / "c.png") as image:
        assert image.size == (5, 2) and image.mode == "RGB" and image.getpixel((0, 0)) == (0, 128, 255)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    save_png(torch.zeros(1, 4, 4), path)
    before = path.read_bytes()

    def full_disk(handle):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_png(torch.ones(1, 4, 4), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["photo.png"]


def test_save_png_refuses_other_shapes(tmp_path):
    with pytest.raises(ValueError, match="pixels"):
        save_png(torch.zeros(2, 4, 4), tmp_path / "photo.png")

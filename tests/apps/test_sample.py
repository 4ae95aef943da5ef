import pytest
import torch

from hyperconv.apps.sample import reconstruct, sample, stretched, write_images, write_samples
from hyperconv.data.images import read_photo, save_png
from hyperconv.errors import InputError


def test_samples_have_the_photos_shape_and_vary(model):
    images = sample(model, "china", 3)
    assert [image.shape for image in images] == [model.photo("china").shape] * 3
    assert all(image.abs().max() <= 1 for image in images)
    assert (images[0] - images[1]).abs().mean() > 0.01


def test_image_i_depends_on_the_seed_and_i_alone(model):
    few, many = sample(model, "coffee", 2), sample(model, "coffee", 11)
    assert len(many) == 11
    for one, other in zip(few, many):
        torch.testing.assert_close(one, other, atol=5e-3, rtol=0)
    assert not torch.allclose(sample(model, "coffee", 1, seed=1)[0], few[0])
    assert torch.equal(sample(model, "coffee", 1)[0], sample(model, "coffee", 1)[0])


@pytest.mark.parametrize("size", [(22, 96), (64, 11), (21, 32)])
def test_any_size(model, size):
    (image,) = sample(model, "china", size=size)
    assert image.shape == (3, *size)


def test_the_photos_own_size_changes_nothing(model):
    assert torch.equal(sample(model, "china", size=(21, 32))[0], sample(model, "china")[0])


def test_retargeting_stretches_every_scale_alike(model):
    photo_model = model.photo_model("china")
    wide = stretched(photo_model, (21, 64))
    assert [tuple(sizes[0].tolist()) for sizes in wide.sizes] == [
        (h, 2 * w) for h, w in (sizes[0].tolist() for sizes in photo_model.sizes)
    ]


def test_a_later_start_stays_closer_to_the_photo(model):
    photo = model.photo("astronaut")

    def distance(start_scale):
        images = sample(model, "astronaut", 4, start_scale=start_scale)
        return sum((image - photo).square().mean() for image in images) / 4

    assert distance(2) < distance(0)
    assert sample(model, "china", size=(30, 60), start_scale=1)[0].shape == (3, 30, 60)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"start_scale": 3}, "0 to 2"),
        ({"start_scale": -1}, "0 to 2"),
        ({"size": (10, 50)}, "10x50"),
        ({"size": (0, 0)}, "0x0"),
    ],
)
def test_impossible_wishes(model, arguments, told):
    with pytest.raises(InputError, match=told):
        sample(model, "china", **arguments)


def test_writing(model, tmp_path):
    sheet = write_samples(model, ["china", "astro"], tmp_path / "out", 3)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == [f"{name}_0{i}.png" for name in ("astronaut", "china") for i in (1, 2, 3)] + ["sheet.png"]
    assert sheet == tmp_path / "out" / "sheet.png"
    written = read_photo(tmp_path / "out" / "china_02.png").pixels
    assert (written - sample(model, "china", 2)[1]).abs().max() < 1 / 120


def test_file_numbers_sort(tmp_path):
    write_images([torch.zeros(1, 2, 2)] * 120, tmp_path, "a")
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names[0] == "a_001.png" and names[-1] == "a_120.png"


def test_the_reconstruction_has_the_photos_shape(model):
    assert reconstruct(model.photo_model("astronaut")).shape == model.photo("astronaut").shape


def test_a_sheet_shows_no_more_than_the_first_photos(model, tmp_path, monkeypatch):
    monkeypatch.setitem(write_samples.__globals__, "SHEET_PHOTOS", 1)
    alone = read_photo(write_samples(model, ["china"], tmp_path / "a", 1)).pixels
    first = read_photo(write_samples(model, ["china", "coffee"], tmp_path / "b", 1)).pixels
    assert torch.equal(alone, first)
    assert (tmp_path / "b" / "coffee_01.png").is_file()


def test_nothing_is_written_over(model, tmp_path):
    write_samples(model, ["china"], tmp_path, 2)
    before = (tmp_path / "china_01.png").read_bytes()
    with pytest.raises(InputError, match="china_02.png and 1 more files are there already"):
        (tmp_path / "china_01.png").unlink()
        write_samples(model, ["china"], tmp_path, 2, seed=1)
    assert not (tmp_path / "china_01.png").exists()
    write_samples(model, ["china"], tmp_path, 2, seed=1, force=True)
    assert (tmp_path / "china_01.png").read_bytes() != before


def test_large_images_are_drawn_fewer_at_a_time(model, monkeypatch):
    images = sample(model, "china", 3, size=(40, 50))
    monkeypatch.setitem(sample.__globals__, "PIXELS_AT_ONCE", 1)
    for one, other in zip(images, sample(model, "china", 3, size=(40, 50))):
        torch.testing.assert_close(one, other, atol=5e-3, rtol=0)


def test_a_run_trained_on_altered_photos_keeps_its_coarsest_scale(singles):
    model = singles("consingan", "tiny-harmonize")
    assert torch.equal(sample(model, 0, 1)[0], sample(model, 0, 1, start_scale=1)[0])
    assert not torch.equal(sample(model, 0, 1)[0], sample(model, 0, 1, start_scale=0)[0])


def test_drawing_again_leaves_nothing_of_an_earlier_draw(model, tmp_path):
    write_samples(model, ["china", "coffee"], tmp_path, 4)
    for name in ("china_large.png", "china_01_01.png", "china_2.png"):
        save_png(torch.zeros(3, 12, 12), tmp_path / name)
    write_samples(model, ["china"], tmp_path, 2, force=True)
    names = {file.name for file in tmp_path.glob("china*")}
    assert names == {"china_01.png", "china_02.png", "china_large.png", "china_01_01.png", "china_2.png"}
    assert len(list(tmp_path.glob("coffee_*.png"))) == 4

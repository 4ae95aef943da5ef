from dataclasses import replace

import pytest
import torch

from hyperconv.apps.superres import faithful, superres, write_superres
from hyperconv.data.images import read_photo, resize, save_png
from hyperconv.errors import InputError


@pytest.mark.parametrize("factor", [1.1, 2, 3.7])
def test_the_size_is_exact(any_model, factor):
    height, width = any_model.photo("china").shape[1:]
    image = superres(any_model, "china", factor)
    assert image.shape == (3, round(height * factor), round(width * factor))
    assert image.isfinite().all() and image.abs().max() <= 1


@pytest.mark.parametrize("factor", [1.5, 4])
def test_shrunk_it_is_the_photo(any_model, factor):
    photo = any_model.photo("astronaut")
    small = resize(superres(any_model, "astronaut", factor), tuple(photo.shape[1:]))
    assert (small - photo).abs().mean() < 0.01


def test_it_has_detail_of_its_own(any_model):
    photo = any_model.photo("astronaut")
    large = superres(any_model, "astronaut", 2)
    assert (large - resize(photo, tuple(large.shape[1:]))).abs().mean() > 0.01


def test_an_image_that_is_faithful_already_stays():
    flat = torch.full((3, 20, 30), 0.3)
    assert torch.allclose(faithful(flat, torch.full((3, 5, 9), 0.3)), flat, atol=1e-6)


def test_the_same_seed_gives_the_same_image(any_model):
    assert torch.equal(superres(any_model, "china", 2, seed=1), superres(any_model, "china", 2, seed=1))
    assert not torch.equal(superres(any_model, "china", 2, seed=1), superres(any_model, "china", 2, seed=2))


@pytest.mark.parametrize("factor", [1, 0.5, -2, float("nan"), float("inf")])
def test_impossible_factors(model, factor):
    with pytest.raises(InputError, match="factor"):
        superres(model, "china", factor)


@pytest.mark.parametrize("factor", [1e6, 1e300])
def test_factors_that_no_memory_has_room_for(any_model, factor):
    with pytest.raises(InputError, match="GB.*smaller"):
        superres(any_model, "china", factor)


def test_a_photo_the_meta_gan_never_saw(model, tmp_path, flower):
    save_png(flower.pixels[:, ::8, ::8], tmp_path / "flower.png")
    sheet = write_superres(model, [tmp_path / "flower.png"], tmp_path / "out", 2)
    height, width = read_photo(tmp_path / "out" / "flower_x2.png").pixels.shape[1:]
    assert max(height, width) == 2 * model.config.max_size and sheet.name == "x2_sheet.png"


def test_unfinished_runs(singles, monkeypatch):
    singan, consingan = singles("singan"), singles("consingan")
    for run in (singan, consingan):
        monkeypatch.setattr(run, "config", replace(run.config, scale_count=4))
    with pytest.raises(InputError, match="3 of 4 scales"):
        superres(singan, "china", 2)
    assert superres(consingan, "china", 2).shape == (3, 54, 80)


def test_photos_of_one_name_get_files_of_their_own(model, tmp_path, flower):
    save_png(flower.pixels[:, ::8, ::8], tmp_path / "china.png")
    write_superres(model, ["china", tmp_path / "china.png"], tmp_path / "out", 2)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"china_x2.png", "china-2_x2.png", "x2_sheet.png"}
    own, other = (read_photo(tmp_path / "out" / f"{name}_x2.png").pixels for name in ("china", "china-2"))
    assert not torch.equal(own, other)

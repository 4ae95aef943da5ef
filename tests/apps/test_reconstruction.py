import math

import pytest
import torch

from hyperconv.apps.reconstruction import reconstructions, write_reconstructions
from hyperconv.apps.sample import reconstruct
from hyperconv.data.images import read_photo, save_png
from hyperconv.errors import InputError


def test_error_and_image_of_every_photo(any_model):
    china, astronaut = reconstructions(any_model, ["china", "astronaut"])
    assert (china.name, astronaut.name) == ("china", "astronaut")
    assert torch.equal(china.image, reconstruct(any_model.photo_model("china")))
    mse = ((china.image - any_model.photo("china")) / 2).square().mean().item()
    assert china.rmse == pytest.approx(math.sqrt(mse), rel=1e-5)
    assert china.psnr == pytest.approx(-10 * math.log10(mse), rel=1e-5)


def test_writing(model, tmp_path):
    sheet, results = write_reconstructions(model, ["chi", "coffee"], tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["china.png", "coffee.png", "sheet.png"]
    assert [result.name for result in results] == ["china", "coffee"] and sheet == tmp_path / "sheet.png"
    with pytest.raises(InputError, match="already"):
        write_reconstructions(model, ["china"], tmp_path)
    write_reconstructions(model, ["china"], tmp_path, force=True)


def test_photos_of_one_name_and_one_called_sheet_get_files_of_their_own(model, tmp_path, flower):
    small = flower.pixels[:, ::8, ::8]
    for name in ("china", "sheet"):
        save_png(small, tmp_path / f"{name}.png")
    names = ["china", tmp_path / "china.png", tmp_path / "sheet.png"]
    sheet, results = write_reconstructions(model, names, tmp_path / "out")
    files = {"china.png", "china-2.png", "sheet-2.png", "sheet.png"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == files
    assert [result.name for result in results] == ["china", "china-2", "sheet-2"]
    assert read_photo(sheet).pixels.shape != read_photo(tmp_path / "out" / "sheet-2.png").pixels.shape

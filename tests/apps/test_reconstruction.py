import math

import pytest
import torch

from hyperconv.apps.reconstruction import reconstructions, write_reconstructions
from hyperconv.apps.sample import reconstruct
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

import pytest
import torch

from hyperconv.apps.retarget import retarget, write_retargeted
from hyperconv.data.images import read_photo, resize
from hyperconv.errors import InputError


@pytest.mark.parametrize("size", [(24, 96), (80, 80), (11, 37)])
def test_any_size_and_shape_exactly(any_model, size):
    (image,) = retarget(any_model, "china", size)
    assert image.shape == (3, *size) and image.isfinite().all() and image.abs().max() <= 1


def test_the_layout_is_kept_unless_a_new_one_is_wanted(model):
    size = (30, 90)
    photo = resize(model.photo("astronaut"), size)

    def distance(new_layout):
        images = retarget(model, "astronaut", size, 4, new_layout=new_layout)
        return sum((image - photo).square().mean() for image in images) / 4

    assert distance(False) < distance(True)


def test_every_version_differs_and_the_seed_repeats_them(any_model):
    first, second = retarget(any_model, "china", (30, 60), 2, seed=3)
    assert not torch.equal(first, second)
    again, _ = retarget(any_model, "china", (30, 60), 2, seed=3)
    assert torch.equal(again, first)


def test_writing(model, tmp_path):
    sheet = write_retargeted(model, ["china"], tmp_path, (20, 64), 2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "20x64_sheet.png",
        "china_20x64_01.png",
        "china_20x64_02.png",
    ]
    assert sheet.is_file() and read_photo(tmp_path / "china_20x64_01.png").pixels.shape == (3, 20, 64)
    with pytest.raises(InputError, match="already"):
        write_retargeted(model, ["china"], tmp_path, (20, 64), 2)
    write_retargeted(model, ["china"], tmp_path, (20, 64), 2, force=True)


@pytest.mark.parametrize(
    "system, preset, drawn_anew",
    [
        ("consingan", "tiny", True),
        ("consingan", "tiny-edit", False),  # its coarsest scale has never seen noise
        ("singan", "tiny", False),
    ],
)
def test_layouts_are_kept_where_stretched_ones_are_known(singles, system, preset, drawn_anew):
    run, size = singles(system, preset), (24, 60)
    (by_itself,) = retarget(run, "china", size)
    assert torch.equal(by_itself, retarget(run, "china", size, new_layout=drawn_anew)[0])
    assert not torch.equal(by_itself, retarget(run, "china", size, new_layout=not drawn_anew)[0])

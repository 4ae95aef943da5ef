import pytest
import torch
from PIL import Image

from hyperconv.apps.blend import edit, harmonize, write_edited, write_harmonized
from hyperconv.data.images import read_photo, resize, save_png
from hyperconv.errors import InputError


@pytest.fixture(params=["meta", "singan", "tiny", "tiny-harmonize", "tiny-edit"])
def any_model(request, model, singles):
    """A run of each system, and of ConSinGAN's modes."""
    if request.param == "meta":
        return model
    return singles("singan") if request.param == "singan" else singles("consingan", request.param)


def composite(model, name="china", larger=3):
    """The photo, larger, with a red block in it, and the block's mask."""
    height, width = model.photo(name).shape[1:]
    picture = resize(model.photo(name), (larger * height, larger * width))
    mask = torch.zeros(picture.shape[1:])
    mask[15:27, 18:30] = 1
    red = torch.tensor([1.0, -1, -1])[:, None, None][: len(picture)]
    return torch.where(mask > 0, red, picture), mask


@pytest.mark.parametrize("function", [harmonize, edit])
def test_only_what_the_mask_marks_changes(any_model, function):
    picture, mask = composite(any_model)
    blend = function(any_model, "china", picture, mask)
    photo = any_model.photo("china")
    assert torch.equal(blend.photo, photo) and blend.result.shape == photo.shape
    untouched = (blend.mask == 0).expand_as(photo)
    assert torch.equal(blend.result[untouched], photo[untouched])
    torch.testing.assert_close(blend.result, (1 - blend.mask) * photo + blend.mask * blend.drawn)
    assert blend.result.abs().max() <= 1 and not torch.equal(blend.result, photo)
    assert torch.equal(blend.result, function(any_model, "china", picture, mask).result)


@pytest.mark.parametrize("function", [harmonize, edit])
def test_an_empty_mask_returns_the_photo_exactly(any_model, function):
    picture, mask = composite(any_model)
    assert torch.equal(function(any_model, "china", picture, torch.zeros_like(mask)).result, any_model.photo("china"))


def test_editing_reaches_further_than_harmonising(model):
    picture, mask = composite(model)
    assert edit(model, "china", picture, mask).mask.sum() > harmonize(model, "china", picture, mask).mask.sum()


def test_what_is_drawn_follows_the_picture_the_more_the_later_it_enters(model):
    picture, mask = composite(model)
    early, late = (harmonize(model, "china", picture, mask, start_scale=scale) for scale in (1, 2))
    assert (late.drawn - late.picture).square().mean() < (early.drawn - early.picture).square().mean()


def test_where_a_picture_can_enter(model, singles):
    picture, mask = composite(model)
    for start_scale in (0, 3):
        with pytest.raises(InputError, match="1 to 2"):
            harmonize(model, "china", picture, mask, start_scale=start_scale)
    with pytest.raises(InputError, match="coarsest only"):
        harmonize(singles("consingan"), "china", picture, mask, start_scale=1)
    harmonize(singles("consingan"), "china", picture, mask, start_scale=0)


def test_fine_tuning_changes_the_result_and_leaves_the_run_alone(singles, model):
    harmonizer = singles("consingan", "tiny-harmonize")
    picture, mask = composite(harmonizer, "astronaut")
    before = harmonize(harmonizer, "astronaut", picture, mask)
    taken = []
    tuned = harmonize(
        harmonizer, "astronaut", picture, mask, fine_tune_steps=3, on_step=lambda *step: taken.append(step)
    )
    assert taken == [(1, 3), (2, 3), (3, 3)]
    assert not torch.equal(before.drawn, tuned.drawn)
    assert torch.equal(before.drawn, harmonize(harmonizer, "astronaut", picture, mask).drawn)
    with pytest.raises(InputError, match="--system meta"):
        harmonize(model, "astronaut", picture, mask, fine_tune_steps=3)


def test_a_picture_of_another_shape_is_refused(model):
    picture, mask = composite(model)
    with pytest.raises(InputError, match="63x60 and the photo, as trained, 21x32"):
        harmonize(model, "china", picture[:, :, :60], mask)


def test_writing(singles, tmp_path):
    harmonizer = singles("consingan", "tiny-harmonize")
    picture, mask = composite(harmonizer)
    save_png(picture, tmp_path / "pasted.png")
    Image.fromarray((mask * 255).byte().numpy()).resize((20, 20)).save(tmp_path / "mask.png")
    written = write_harmonized(harmonizer, "chi", tmp_path / "pasted.png", tmp_path / "mask.png", tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["china-pasted.png", "china-pasted_sheet.png"]
    assert read_photo(written.image).pixels.shape == harmonizer.photo("china").shape
    (remark,) = written.remarks
    assert "20x20" in remark and "resized" in remark
    with pytest.raises(InputError, match="already"):
        write_edited(harmonizer, "china", tmp_path / "pasted.png", tmp_path / "mask.png", tmp_path / "out")


def test_negative_steps(singles):
    harmonizer = singles("consingan", "tiny-harmonize")
    with pytest.raises(InputError, match="fine_tune_steps is -1"):
        harmonize(harmonizer, "china", *composite(harmonizer), fine_tune_steps=-1)

import sys

import pytest
import torch

from hyperconv.apps.inject import start_scale_for
from hyperconv.apps.model import Model
from hyperconv.apps.paint import paint, style, write_painted, write_styled
from hyperconv.apps.train import train
from hyperconv.data.examples import load_examples
from hyperconv.data.images import resize, save_png
from hyperconv.errors import InputError


def drawing(height=48, width=72):
    """Blue above green."""
    picture = torch.empty(3, height, width)
    picture[:] = torch.tensor([-0.8, -0.2, 0.9])[:, None, None]
    picture[:, height // 2 :] = torch.tensor([-0.5, 0.6, -0.7])[:, None, None]
    return picture


@pytest.mark.parametrize("function", [paint, style])
def test_the_result_has_the_pictures_shape_and_the_photos_pixels(any_model, function):
    height, width = any_model.photo("astronaut").shape[1:]
    image = function(any_model, "astronaut", drawing())
    assert abs(image.shape[2] / image.shape[1] - 1.5) < 0.1
    assert abs(image.shape[1] * image.shape[2] / (height * width) - 1) < 0.1
    assert image.abs().max() <= 1 and torch.equal(image, function(any_model, "astronaut", drawing()))
    assert function(any_model, "astronaut", drawing(64, 64)).shape == (3, height, width)


def test_quantising_leaves_little_of_the_paintings_own_colours(model):
    garish = drawing() * 0 + torch.tensor([1.0, -1, 1])[:, None, None]
    photo = model.photo("china").mean(dim=(1, 2))
    as_is, quantised = (paint(model, "china", garish, quantise=choice, start_scale=2) for choice in (False, True))
    assert (quantised.mean(dim=(1, 2)) - photo).norm() < (as_is.mean(dim=(1, 2)) - photo).norm()


def test_structure_comes_from_the_picture(any_model):
    upright, flipped = drawing(32, 32), drawing(32, 32).flip(1)
    carries_images = any_model.system.generator_template.carries_images
    late = {"start_scale": 2} if carries_images else {}
    results = [style(any_model, "astronaut", picture, **late) for picture in (upright, flipped)]
    assert not torch.equal(*results)
    if carries_images:
        wanted = [resize(picture, tuple(results[0].shape[1:])) for picture in (upright, flipped)]
        for own in (0, 1):
            error = [(results[own] - picture).square().mean() for picture in wanted]
            assert error[own] < error[1 - own]


def test_a_run_that_has_seen_noise_alone_takes_no_picture(tmp_path):
    run = train(
        load_examples(["astronaut"]),
        tmp_path / "run",
        "tiny",
        system="consingan",
        fixed_input="noise",
        max_size=24,
        hidden=4,
        iterations=(1,),
        scale_count=2,
        device="cpu",
    )
    with pytest.raises(InputError, match="noise alone.*tiny-harmonize"):
        start_scale_for(Model.open(run.path, "cpu"), None, 0.5)


def test_writing(any_model, tmp_path):
    save_png(drawing(), tmp_path / "sketch.png")
    for write, folder in ((write_painted, "a"), (write_styled, "b")):
        written = write(any_model, "china", tmp_path / "sketch.png", tmp_path / folder)
        assert sorted(file.name for file in (tmp_path / folder).iterdir()) == [
            "china-sketch.png",
            "china-sketch_sheet.png",
        ]
        assert written.sheet.name == "china-sketch_sheet.png" and written.remarks == []
        with pytest.raises(InputError, match="already"):
            write(any_model, "china", tmp_path / "sketch.png", tmp_path / folder)


@pytest.mark.parametrize("system", ["meta", "singan"])
def test_a_scale_trained_on_few_colours_paints_otherwise(model, singles, system):
    model, taken = model if system == "meta" else singles(system), []
    plain, retrained, again = (
        paint(model, "china", drawing(), retrain_steps=steps, start_scale=1, on_step=lambda *at: taken.append(at))
        for steps in (0, 2, 2)
    )
    assert not torch.equal(plain, retrained) and torch.equal(retrained, again)
    assert taken == [(1, 2), (2, 2)] * 2


def test_a_retrained_scale_gets_the_painting_in_few_colours(singles, monkeypatch):
    """What the scale adds its residual to is the painting in exactly the colours that it was trained on."""
    model, entered = singles("singan"), []
    monkeypatch.setattr(
        sys.modules[paint.__module__],
        "drawn_on",
        lambda shaped, carried, seed: entered.append((shaped, carried)) or carried.values[0],
    )
    paint(model, "china", drawing(), retrain_steps=1, start_scale=1)
    ((shaped, carried),) = entered
    enlarged = shaped.generator.enlarge(carried.values, carried.at, shaped.grid(1))
    torch.testing.assert_close(enlarged, carried.values)
    assert len(carried.values.flatten(2)[0].unique(dim=1).T) <= 5 and carried.values.shape[2:] == shaped.grid(1).extent


def test_only_a_scale_that_few_colours_enter_is_retrained(model, singles):
    with pytest.raises(InputError, match="retraining needs quantised colours"):
        paint(model, "china", drawing(), quantise=False, retrain_steps=2)
    with pytest.raises(InputError, match="--system consingan"):
        paint(singles("consingan"), "china", drawing(), retrain_steps=2)


@pytest.mark.parametrize("quantise", [True, False])
def test_negative_steps(model, quantise):
    with pytest.raises(InputError, match="retrain_steps is -1"):
        paint(model, "china", drawing(), quantise=quantise, retrain_steps=-1)


def test_colours_are_quantised_where_a_scale_is_retrained(model):
    picture = drawing()
    by_itself, kept, retrained, both = (
        paint(model, "china", picture, **options)
        for options in ({}, {"quantise": False}, {"retrain_steps": 2}, {"retrain_steps": 2, "quantise": True})
    )
    assert torch.equal(by_itself, kept) and torch.equal(retrained, both)

import pytest
import torch

from hyperconv.apps.adapt import adapt, write_adaptation
from hyperconv.apps.sample import draw
from hyperconv.data.images import Photo, save_png
from hyperconv.errors import InputError


def error_of(photo_model, model, photo):
    return (photo_model.reconstruct()[0] - model.with_photos([photo]).photo(0)).square().mean()


def test_feed_forward(model, flower, tmp_path):
    save_png(flower.pixels, tmp_path / "flower.png")
    photo_model = adapt(model, tmp_path / "flower.png")
    assert photo_model.amplitudes.shape == (1, 3)
    assert photo_model.amplitudes[0, 0] == 1 and (photo_model.amplitudes > 0).all()
    (image,) = draw(photo_model, 1)
    assert image.shape == model.with_photos([flower]).photo(0).shape
    assert torch.equal(adapt(model, flower).weights[-1].flat, photo_model.weights[-1].flat)


def test_tuning_brings_the_reconstruction_closer_and_leaves_the_system_alone(model, flower):
    before = {name: value.clone() for name, value in model.system.state_dict().items()}
    calls = []
    tuned = adapt(model, flower, 40, on_step=lambda taken, total: calls.append((taken, total)))
    assert error_of(tuned, model, flower) < error_of(adapt(model, flower), model, flower)
    assert calls == [(step, 120) for step in range(1, 121)]
    assert all(torch.equal(value, before[name]) for name, value in model.system.state_dict().items())
    assert not tuned.weights[0].flat.requires_grad


def test_tuning_the_embedding_brings_the_reconstruction_closer_too(model, flower):
    before = {name: value.clone() for name, value in model.system.state_dict().items()}
    calls = []
    tuned = adapt(model, flower, 40, tuning="embedding", on_step=lambda taken, total: calls.append((taken, total)))
    assert error_of(tuned, model, flower) < error_of(adapt(model, flower), model, flower)
    assert calls == [(step, 40) for step in range(1, 41)]
    assert all(torch.equal(value, before[name]) for name, value in model.system.state_dict().items())
    assert not tuned.weights[0].flat.requires_grad


def test_an_rgb_model_takes_a_grey_photo(model):
    grey = Photo("grey", torch.rand(1, 40, 40) * 2 - 1, None, [])
    assert adapt(model, grey).reconstruct().shape == (1, 3, 32, 32)


def test_a_photo_that_cannot_be(model, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    for name in ("text.jpg", "absent.jpg"):
        with pytest.raises(InputError, match=name):
            adapt(model, tmp_path / name)


def test_writing(model, flower, tmp_path):
    sheet = write_adaptation(model, flower, tmp_path / "adapted", 2)
    assert sorted(file.name for file in sheet.parent.iterdir()) == [
        "reconstruction.png",
        "sample_01.png",
        "sample_02.png",
        "sheet.png",
    ]


@pytest.mark.parametrize(
    "options, told", [({"tuning": "foo"}, "tuning is 'foo'.*'embedding'"), ({"tune_steps": -1}, "steps is -1")]
)
def test_impossible_tuning(model, flower, options, told):
    with pytest.raises(InputError, match=told):
        adapt(model, flower, **options)

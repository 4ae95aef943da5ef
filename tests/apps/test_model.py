import json
import shutil

import pytest
import torch

from hyperconv.apps.model import Model, resolve_device
from hyperconv.data.examples import load_examples
from hyperconv.data.images import save_png
from hyperconv.errors import InputError


def test_a_run_opens_with_its_photos(model):
    assert model.names == ["china", "coffee", "astronaut"]
    assert model.scales == 3
    assert model.photo("china").shape == (3, 21, 32)
    assert model.photo("astronaut", 0).shape == (3, 17, 17)
    assert not any(parameter.requires_grad for parameter in model.system.parameters())


@pytest.mark.parametrize("name", ["coffee", "coffee.png", "COFFEE", "co"])
def test_photos_are_found_by_name_file_name_and_beginning(model, name):
    assert model.index(name) == 1


@pytest.mark.parametrize(
    "name, hint",
    [
        ("coffe_", "coffee"),
        ("c", "china, coffee"),
        ("zebra", "china, coffee, astronaut"),
        ("", "china, coffee, astronaut"),
    ],
)
def test_unknown_and_ambiguous_names_list_what_is_there(model, name, hint):
    with pytest.raises(InputError, match=hint) as caught:
        model.index(name)
    assert "\n" not in str(caught.value)


def test_a_path_means_that_file_and_no_photo_of_its_name(model, singles, flower, tmp_path):
    save_png(flower.pixels, tmp_path / "coffee.png")
    with pytest.raises(InputError, match="some/where/coffee.jpg' names no photo of this run; it has coffee$"):
        model.index("some/where/coffee.jpg")
    with pytest.raises(InputError, match="coffee.png' names no photo.*it has coffee; .* hyperconv adapt"):
        model.index(str(tmp_path / "coffee.png"))
    with pytest.raises(InputError, match=r"it has china, astronaut$"):
        singles("singan").index(str(tmp_path / "coffee.png"))
    holder, _ = model.find(tmp_path / "coffee.png")
    assert holder is not model


def test_a_batch_of_models_is_the_models_one_by_one(model):
    both = model.photo_model("astronaut", 0)
    images = both.reconstruct()
    for row, name in enumerate(("astronaut", "china")):
        alone = model.photo_model(name).reconstruct()[0]
        height, width = alone.shape[1:]
        torch.testing.assert_close(images[row, :, :height, :width], alone, atol=5e-3, rtol=0)


def test_a_training_photo_read_again_gets_the_model_it_has(model):
    again = model.with_photos(load_examples(["coffee"]))
    own, fresh = model.photo_model("coffee"), again.photo_model(0)
    for one, other in zip(own.weights, fresh.weights):
        torch.testing.assert_close(one.flat, other.flat, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(own.amplitudes, fresh.amplitudes, atol=1e-4, rtol=1e-3)


def test_find_takes_names_before_files(model, flower, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_png(flower.pixels, "flower.png")
    save_png(flower.pixels, "china")
    holder, index = model.find("flower.png")
    assert holder.names == ["flower"] and index == 0
    assert model.find("china") == (model, 0)
    with pytest.raises(InputError, match="absent.png"):
        model.find("absent.png")


def test_a_photo_too_small_for_the_run_is_refused(model, tmp_path):
    save_png(torch.zeros(3, 5, 5), tmp_path / "dot.png")
    with pytest.raises(InputError, match="dot.png.*5x5"):
        model.find(tmp_path / "dot.png")


def test_a_run_still_in_training_opens_with_the_scales_it_has(trained, tmp_path, quick, flower):
    from hyperconv.apps.sample import sample
    from hyperconv.apps.train import start
    from hyperconv.gan.presets import preset

    trainer, _ = start(load_examples(["china", "coffee"]), tmp_path / "run", preset("tiny", **quick), device="cpu")
    for progress in trainer.train():
        if (progress.scale, progress.saved) == (1, True):
            break
    unfinished = Model.open(tmp_path / "run", "cpu")
    assert unfinished.scales == 2
    assert sample(unfinished, "china")[0].shape == unfinished.photo("china").shape
    assert unfinished.with_photos([flower]).photo_model(0).amplitudes.shape == (1, 2)


def test_damaged_runs_are_refused_in_one_line(trained, tmp_path):
    def copy(name):
        return shutil.copytree(trained, tmp_path / name)

    truncated = copy("truncated")
    content = (truncated / "model.safetensors").read_bytes()
    (truncated / "model.safetensors").write_bytes(content[: len(content) // 2])
    unreadable = copy("unreadable")
    (unreadable / "config.json").write_text('{"max_size": 64')
    foreign = copy("foreign")
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps({**config, "hidden": 16}))
    mixed = copy("mixed")
    other = Model.open(trained, "cpu").with_photos(load_examples(["rocket"]))
    other.collection.save(mixed / "photos.safetensors")
    photoless = copy("photoless")
    (photoless / "photos.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    for name, told in [
        ("truncated", "model.safetensors"),
        ("unreadable", "config.json"),
        ("foreign", "config.json"),
        ("mixed", "3 photos.*1"),
        ("photoless", "photos.safetensors"),
        ("empty", "config.json"),
        ("absent", "absent"),
    ]:
        with pytest.raises(InputError, match=told) as caught:
            Model.open(tmp_path / name, "cpu")
        assert "\n" not in str(caught.value), name


def test_devices():
    assert resolve_device("auto").type in ("cpu", "cuda")
    assert resolve_device("cpu").type == "cpu"
    for name in ("abacus", "cuda:99", "meta"):
        with pytest.raises(InputError, match=name):
            resolve_device(name)

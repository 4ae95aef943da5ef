import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hyperconv.apps.demo import demo
from hyperconv.apps.model import Model
from hyperconv.apps.train import follow, new_config, resume, start, train
from hyperconv.data.examples import load_examples
from hyperconv.data.images import Photo, save_png
from hyperconv.errors import InputError
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.nn.resnet import ResNet


@pytest.fixture
def photos():
    return load_examples(["china", "coffee"])


def test_a_run_has_its_files_and_a_sheet_for_every_checkpoint(trained):
    assert {file.name for file in trained.iterdir()} == {
        "config.json",
        "photos.safetensors",
        "model.safetensors",
        "training_state.safetensors",
        "metrics.jsonl",
        "samples",
    }
    assert sorted(file.name for file in (trained / "samples").iterdir()) == [
        "scale_0_step_00012.png",
        "scale_1_step_00004.png",
        "scale_2_step_00004.png",
    ]
    assert [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()] == [10]


def test_photos_that_cannot_be_used_are_left_out_with_a_reason(tmp_path, quick):
    for name in ("coffee", "china"):
        array = load_examples([name])[0].pixels.permute(1, 2, 0).numpy()
        Image.fromarray(((array + 1) * 127.5).astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_text("no image")
    Image.new("RGB", (5, 5)).save(tmp_path / "dot.png")
    trainer, remarks = start([tmp_path], tmp_path / "run", preset("tiny", **quick), device="cpu")
    assert trainer.collection.names == ["china", "coffee"]
    assert len(remarks) == 2 and "broken.jpg" in remarks[0] and "dot.png" in remarks[1] and "5x5" in remarks[1]


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"hold_out": ["lake"]}, "--hold-out .* meta does not"),
        ({"system": "singan", "embedding": "conv"}, "singan has no setting embedding"),
        ({"system": "consingan", "head_rank": 4}, "consingan has no setting head_rank"),
        ({"system": "dip", "start_from": "run", "preset_name": "tiny"}, "--from .* leave out --preset"),
        ({"start_from": "run"}, "--from is for a new run of --system dip"),
        ({"system": "dip", "start_from": "run"}, "run is not a run"),
    ],
)
def test_arguments_that_mean_nothing_to_the_system(tmp_path, photos, arguments, told):
    with pytest.raises(InputError, match=told):
        train(photos, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_no_photo_that_can_be_used(tmp_path, quick):
    small = Photo("small", torch.zeros(3, 5, 5), None, [])
    with pytest.raises(InputError, match="small.*5x5"):
        start([small], tmp_path / "run", preset("tiny", **quick))
    with pytest.raises(InputError, match="no photos"):
        start([], tmp_path / "run", preset("tiny", **quick))
    assert not (tmp_path / "run").exists()


def test_a_failed_start_leaves_no_run_behind(tmp_path, photos, quick):
    with pytest.raises(InputError, match="absent.pth"):
        train(
            photos,
            tmp_path / "run",
            embedding="resnet18",
            backbone_weights=str(tmp_path / "absent.pth"),
            **quick,
        )
    assert not (tmp_path / "run").exists()


def test_grey_photos_train_a_grey_model(tmp_path, quick, photos):
    grey = [Photo(photo.name, photo.pixels.mean(dim=0, keepdim=True), None, []) for photo in photos]
    train(grey, tmp_path / "run", device="cpu", **quick)
    model = Model.open(tmp_path / "run", "cpu")
    assert model.photo_model("china").reconstruct().shape == (1, 1, 21, 32)


def test_a_resumed_run_keeps_its_settings_but_may_take_another_learning_rate(tmp_path, quick, photos):
    trainer, _ = start(photos, tmp_path / "run", preset("tiny", **quick), device="cpu")
    for progress in follow(trainer):
        if progress.saved:
            break
    with pytest.raises(InputError, match="max_size is 32, not 64"):
        resume(tmp_path / "run", {"max_size": 64, "hidden": 8})
    again = resume(tmp_path / "run", {"max_size": 32, "learning_rate": 1e-4}, device="cpu")
    assert (again.scale, again.step) == (0, 12)
    assert again.config.learning_rate == 1e-4
    assert resume(tmp_path / "run", device="cpu").config.learning_rate == 1e-4


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path, quick, photos):
    trainer, _ = start(photos, tmp_path / "run", preset("tiny", **quick), device="cpu")
    steps = follow(trainer)
    for _ in range(11):
        next(steps)
    for _ in follow(resume(tmp_path / "run", device="cpu")):
        pass
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [10]


def test_a_run_that_lost_its_training_state_is_not_trained_from_zero(tmp_path, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "training_state.safetensors").unlink()
    model = (run / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="has a model and no training_state.safetensors"):
        resume(run, {"learning_rate": 1e-4}, device="cpu")
    assert (run / "model.safetensors").read_bytes() == model
    assert Run.open(run).config == Run.open(trained).config


@pytest.mark.parametrize("one", [str, Path])
def test_a_single_path_and_plain_numbers_of_steps(tmp_path, quick, photos, one):
    save_png(photos[0].pixels, tmp_path / "photos" / "china.png")
    quick = {**quick, "scale_count": 1, "iterations": 2}
    run = train(one(tmp_path / "photos"), tmp_path / "run", device="cpu", **quick)
    assert run.checkpoint() == (0, 2) and run.config.iterations == (2,)


def test_a_single_photo_and_a_list_of_steps(tmp_path, quick, photos):
    run = train(photos[0], tmp_path / "run", device="cpu", **{**quick, "iterations": [2, 1]})
    assert run.checkpoint() == (2, 1) and run.config.iterations == (2, 1)


@pytest.mark.parametrize("steps", [0, [], [2, 0], 2.5, "20", [2, None]])
def test_steps_that_cannot_be(steps):
    with pytest.raises(InputError, match="iterations is"):
        preset("tiny", iterations=steps)


def test_a_sequence_is_no_number():
    with pytest.raises(InputError, match=r"max_size is \[64\]: it must be int"):
        preset("tiny", max_size=[64])


def test_the_file_of_published_weights_is_found_from_anywhere_and_may_move(tmp_path, quick, photos, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    save_file(ResNet(18).state_dict(), "resnet.safetensors")
    config = new_config("tiny", embedding="resnet18", backbone_weights="resnet.safetensors", **quick)
    trainer, _ = start(photos, tmp_path / "run", config, device="cpu")
    first = trainer.system.state_dict()
    monkeypatch.chdir(tmp_path)
    again = resume("run", device="cpu").system.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    Path("here/resnet.safetensors").rename("moved.safetensors")
    with pytest.raises(InputError, match="here/resnet.safetensors"):
        resume("run", device="cpu")
    moved = resume("run", {"backbone_weights": "moved.safetensors"}, device="cpu")
    assert moved.config.backbone_weights == str(tmp_path / "moved.safetensors")


def test_tensorboard(tmp_path, quick, photos):
    train(photos, tmp_path / "run", device="cpu", tensorboard=True, **quick)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("reconstruction")] == [10]


def test_mixed_photos_and_paths(tmp_path, photos):
    with pytest.raises(TypeError, match="mixes"):
        train([photos[0], tmp_path], tmp_path / "run")


def test_demo(tmp_path, quick):
    config = preset("tiny", **{**quick, "iterations": (1,)})
    pictures = demo(tmp_path, config, device="cpu")
    assert all(path.is_file() for path in (pictures.samples, pictures.interpolation, pictures.unseen, pictures.tuned))
    assert len(Model.open(tmp_path / "run", "cpu").names) >= 6
    written = pictures.samples.stat().st_mtime_ns
    assert demo(tmp_path, device="cpu") == pictures  # a finished run: only the pictures are drawn again
    assert pictures.samples.stat().st_mtime_ns > written

"""Domains from the command line: train, imitate one never seen, and what each kind of run refuses."""

import re

import pytest
import torch
from PIL import Image

from hyperconv.cli.main import main

QUICK = ["--system", "reptile", "--iterations", "12", "--tasks", "2", "--inner-steps", "1", "--batch-size", "4",
         "--image-size", "8", "--device", "cpu"]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on scikit-learn's digits 0 to 7."""
    folder = tmp_path_factory.mktemp("reptile") / "run"
    with pytest.raises(SystemExit) as left:
        main(["train", "--examples", "--out", str(folder), *QUICK])
    assert left.value.code == 0
    return folder


def test_train_adapt_and_nothing_else_changes(hyperconv, digits, tmp_path):
    names = {path.name for path in digits.iterdir()}
    assert names == {"config.json", "held_out", "metrics.jsonl", "model.safetensors", "photos.safetensors", "samples",
                     "training_state.safetensors"}
    assert [path.name for path in (digits / "samples").iterdir()] == ["step_000012.png"]
    assert len(list((digits / "held_out" / "8").iterdir())) == 100
    before = contents(digits)
    answer = hyperconv("adapt", digits, "--shots", digits / "held_out" / "8", "-k", 5, "-n", 3, "--out", tmp_path / "eight")
    assert answer.code == 0 and "from 5 images" in answer.out and answer.error == ""
    assert [path.name for path in sorted((tmp_path / "eight").iterdir())] == [
        "sample_01.png", "sample_02.png", "sample_03.png", "sheet.png"]
    assert Image.open(tmp_path / "eight" / "sample_01.png").size == (8, 8)
    assert contents(digits) == before
    again = hyperconv("adapt", digits, "--shots", digits / "held_out" / "8", "-k", 5, "-n", 3, "--out", tmp_path / "eight")
    assert again.complains("sheet.png", "--force")


def test_images_beyond_the_k_shots_play_no_part(hyperconv, digits, tmp_path):
    drawn = []
    for name, others in (("few", 4), ("more", 9)):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(1, others + 1):
            source = digits / "held_out" / ("8" if number <= 4 else "9") / f"{number:03}.png"
            (folder / f"{number}.png").write_bytes(source.read_bytes())
        assert hyperconv("adapt", digits, "--shots", folder, "-k", 4, "-n", 1, "--out", tmp_path / f"of-{name}").code == 0
        drawn.append((tmp_path / f"of-{name}" / "sample_01.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_resume(hyperconv, digits):
    before = (digits / "model.safetensors").read_bytes()
    answer = hyperconv("train", "--resume", "--out", digits)
    assert answer.code == 0 and "8 domains, continued from scale 1, step 12" in answer.out
    assert (digits / "model.safetensors").read_bytes() == before
    assert hyperconv("train", "--resume", "--out", digits, "--tasks", 3).complains("tasks is 2, not 3")
    assert hyperconv("train", "--resume", "--out", digits, "--max-size", 64).complains("max_size")


def test_folders_of_classes(hyperconv, digits, tmp_path):
    answer = hyperconv("train", digits / "held_out", "--out", tmp_path / "run", *QUICK)
    assert answer.code == 0 and "2 domains, 200 images of 8 px, 12 steps of 2 domains" in answer.out
    assert re.search(r"next: hyperconv adapt \S+ --shots FOLDER -k 16", answer.out)


def test_each_system_refuses_the_runs_of_the_other(hyperconv, digits, run, photos):
    for verb in (["sample", digits], ["interpolate", digits, "a", "b"], ["evaluate", digits], ["reconstruct", digits],
                 ["adapt", digits, photos / "china.png"], ["retarget", digits, "--size", "64x64"]):
        assert hyperconv(*verb).complains("--system reptile", "--shots FOLDER")
    assert hyperconv("adapt", run, "--shots", photos, "-k", 1).complains("--system meta", "PHOTO")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--examples", "--hold-out", "11"], ["'11'", "0, 1, 2"]),
        (["--examples", "--max-size", "64"], ["max_size"]),
        (["--examples", "--image-size", "20"], ["20", "16"]),
        (["--examples", "photos"], ["--examples"]),
        (["a", "b"], ["one folder"]),
        (["absent"], ["absent"]),
        (["--examples", "--on-disk"], ["in memory"]),
        ([], ["--examples"]),
        (["--examples", *(part for digit in "0123456789"[:9] for part in ("--hold-out", digit))], ["two or more"]),
    ],
)
def test_bad_use_of_train(hyperconv, tmp_path, arguments, told):
    answer = hyperconv("train", "--system", "reptile", "--out", tmp_path / "run", *arguments)
    assert answer.complains(*told) and not (tmp_path / "run").exists()


def test_bad_use_of_adapt(hyperconv, digits, tmp_path):
    assert hyperconv("adapt", digits).complains("PHOTO", "--shots FOLDER")
    assert hyperconv("adapt", digits, "--shots", tmp_path / "absent").complains("absent")
    assert hyperconv("adapt", digits, "--shots", digits / "held_out" / "8", "-k", 101).complains("100 images", "101")
    shots = ["adapt", digits, "--shots", digits / "held_out" / "8"]
    assert hyperconv(*shots, "--export", tmp_path / "x.safetensors").complains("--export")
    assert hyperconv("train", "--examples", "--tasks", 2, "--out", tmp_path / "run").complains("meta has no setting tasks")
    assert hyperconv("train", "--examples", "--hold-out", "8", "--out", tmp_path / "run").complains("--hold-out")


def test_from_python(digits):
    from hyperconv import apps

    model = apps.DomainModel.open(digits, "cpu")
    imitation = apps.imitate(model, digits / "held_out" / "9", 4, steps=2)
    assert imitation.shots.shape == (4, 1, 8, 8)
    samples = imitation.sample(5, seed=1)
    assert samples.shape == (5, 1, 8, 8) and samples.abs().max() <= 1
    assert torch.equal(samples, imitation.sample(5, seed=1)) and not torch.equal(samples, imitation.sample(5, seed=2))

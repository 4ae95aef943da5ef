"""Domains from the command line: train, imitate one never seen, and what each kind of run refuses."""

import json
import re

import pytest
import torch
from PIL import Image

from hyperconv.cli.main import main
from hyperconv.errors import InputError

QUICK = [
    "--system",
    "reptile",
    "--iterations",
    "12",
    "--tasks",
    "2",
    "--inner-steps",
    "1",
    "--batch-size",
    "4",
    "--image-size",
    "8",
    "--device",
    "cpu",
]


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
    assert names == {
        "config.json",
        "held_out",
        "metrics.jsonl",
        "model.safetensors",
        "photos.safetensors",
        "samples",
        "training_state.safetensors",
    }
    assert [path.name for path in (digits / "samples").iterdir()] == ["step_000012.png"]
    assert len(list((digits / "held_out" / "8").iterdir())) == 100
    before = contents(digits)
    answer = hyperconv(
        "adapt", digits, "--shots", digits / "held_out" / "8", "-k", 5, "-n", 3, "--out", tmp_path / "eight"
    )
    assert answer.code == 0 and "from 5 images" in answer.out and answer.error == ""
    assert [path.name for path in sorted((tmp_path / "eight").iterdir())] == [
        "sample_01.png",
        "sample_02.png",
        "sample_03.png",
        "sheet.png",
    ]
    assert Image.open(tmp_path / "eight" / "sample_01.png").size == (8, 8)
    assert contents(digits) == before
    again = hyperconv(
        "adapt", digits, "--shots", digits / "held_out" / "8", "-k", 5, "-n", 3, "--out", tmp_path / "eight"
    )
    assert again.complains("sheet.png", "--force")


def test_images_beyond_the_k_shots_play_no_part(hyperconv, digits, tmp_path):
    drawn = []
    for name, others in (("few", 4), ("more", 9)):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(1, others + 1):
            source = digits / "held_out" / ("8" if number <= 4 else "9") / f"{number:03}.png"
            (folder / f"{number}.png").write_bytes(source.read_bytes())
        assert (
            hyperconv("adapt", digits, "--shots", folder, "-k", 4, "-n", 1, "--out", tmp_path / f"of-{name}").code == 0
        )
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
    for verb in (
        ["sample", digits],
        ["interpolate", digits, "a", "b"],
        ["reconstruct", digits],
        ["adapt", digits, photos / "china.png"],
        ["retarget", digits, "--size", "64x64"],
    ):
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


def test_evaluate_scores_every_domain_and_those_held_out(hyperconv, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("hyperconv.nn.contrast.BATCH", 8)  # the features need not be good here
    before = contents(digits)
    answer = hyperconv("evaluate", digits, "-k", 5, "-n", 12, "--out", tmp_path / "scores")
    assert answer.code == 0 and "8, never seen" in answer.out and "mean, never seen" in answer.out
    assert "features: contrastive, 128 numbers" in answer.out and contents(digits) == before
    found = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert found["shots"] == 5 and [(domain["name"], domain["seen"]) for domain in found["domains"]] == [
        *((str(digit), True) for digit in range(8)),
        ("8", False),
        ("9", False),
    ]
    assert found["domains"][0]["real"] == 178 - 5 and found["domains"][8]["real"] == 95
    mean = sum(domain["scores"]["frechet"] for domain in found["domains"][:8]) / 8
    assert found["mean"]["seen"]["frechet"] == pytest.approx(mean) and mean > 0
    assert Image.open(tmp_path / "scores" / "imitations.png").width > 100
    assert hyperconv("evaluate", digits, "--out", tmp_path / "scores").complains("evaluation.json", "--force")


def test_scores_of_the_real_images_themselves(digits, monkeypatch):
    """A perfect imitation, by a stand-in for the adapted GAN that draws the domain's other images."""
    from hyperconv import apps
    from hyperconv.nn.contrast import train_contrastive

    model = apps.DomainModel.open(digits, "cpu")
    features = train_contrastive(model.domains.pixels, 16, 2)
    others = {
        bytes(model.domains.images(name)[:4].numpy()): model.domains.images(name)[4:] for name in model.domains.names
    }

    class Perfect:
        def __init__(self, shots):
            self.images = others[bytes(shots.numpy())]

        def sample(self, count, seed):
            return self.images

    monkeypatch.setattr(model, "adapt", lambda shots, seed: Perfect(shots))
    evaluation, rows = apps.evaluate_domains(model, {}, 4, features=features)
    assert evaluation.mean(False) is None and len(rows) == 8
    mean = evaluation.mean(True)
    assert mean.frechet < 1e-6 and mean.precision == mean.recall == mean.coverage == 1
    with pytest.raises(InputError, match="0 has 178 images: 175 to imitate and 6 to compare with are needed, lower -k"):
        apps.evaluate_domains(model, {}, 175, features=features)


def test_bad_use_of_evaluate(hyperconv, digits, run):
    assert hyperconv("evaluate", digits, "--prior", "gmm").complains("--system reptile", "--prior")
    assert hyperconv("evaluate", digits, "--sifid", "x.pth").complains("--system reptile", "--sifid")
    assert hyperconv("evaluate", digits, "-k", 500).complains("178 images", "lower -k")
    assert hyperconv("evaluate", digits, "-n", 3).complains("3 samples")
    assert hyperconv("evaluate", digits, "--features", "absent.pth").complains("absent.pth")
    assert hyperconv("evaluate", run, "-k", 3).complains("pyramids", "-k")


def test_bad_use_of_adapt(hyperconv, digits, tmp_path):
    assert hyperconv("adapt", digits).complains("PHOTO", "--shots FOLDER")
    assert hyperconv("adapt", digits, "--shots", tmp_path / "absent").complains("absent")
    assert hyperconv("adapt", digits, "--shots", digits / "held_out" / "8", "-k", 101).complains("100 images", "101")
    shots = ["adapt", digits, "--shots", digits / "held_out" / "8"]
    assert hyperconv(*shots, "--export", tmp_path / "x.safetensors").complains("--export")
    assert hyperconv("train", "--examples", "--tasks", 2, "--out", tmp_path / "run").complains(
        "meta has no setting tasks"
    )
    assert hyperconv("train", "--examples", "--hold-out", "8", "--out", tmp_path / "run").complains("--hold-out")


def test_from_python(digits):
    from hyperconv import apps

    model = apps.DomainModel.open(digits, "cpu")
    imitation = apps.imitate(model, digits / "held_out" / "9", 4, steps=2)
    assert imitation.shots.shape == (4, 1, 8, 8)
    samples = imitation.sample(5, seed=1)
    assert samples.shape == (5, 1, 8, 8) and samples.abs().max() <= 1
    assert torch.equal(samples, imitation.sample(5, seed=1)) and not torch.equal(samples, imitation.sample(5, seed=2))

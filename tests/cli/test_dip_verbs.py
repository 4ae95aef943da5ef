"""A GAN with a Data Instance Prior from the command line: train, transfer, and every verb that takes such a run."""

import pytest
from PIL import Image

from hyperconv.cli.main import main

QUICK = ["--system", "dip", "--iterations", "12", "--batch-size", "8", "--device", "cpu"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on scikit-learn's digits 0 to 7."""
    folder = tmp_path_factory.mktemp("dip") / "run"
    with pytest.raises(SystemExit) as left:
        main(["train", "--examples", "--out", str(folder), *QUICK])
    assert left.value.code == 0
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_run(digits):
    names = {path.name for path in digits.iterdir()}
    assert {
        "config.json",
        "features.safetensors",
        "held_out",
        "metrics.jsonl",
        "model.safetensors",
        "photos.safetensors",
        "samples",
        "training_state.safetensors",
    } <= names
    assert "step_000012.png" in [path.name for path in (digits / "samples").iterdir()]
    assert len(list((digits / "held_out" / "8").iterdir())) == 100


def test_verbs(hyperconv, digits, tmp_path, photos):
    before = contents(digits)
    answer = hyperconv("sample", digits, "-n", 3, "--out", tmp_path / "samples")
    assert answer.code == 0 and "3 samples" in answer.out
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "sample_01.png",
        "sample_02.png",
        "sample_03.png",
        "sheet.png",
    ]
    assert Image.open(tmp_path / "samples" / "sample_01.png").size == (8, 8)
    assert hyperconv("sample", digits, "-n", 3, "--out", tmp_path / "samples").complains("--force")
    for prior in ("mixed", "kmeans", "gmm", "neighbours"):
        assert hyperconv("sample", digits, "-n", 2, "--prior", prior, "--out", tmp_path / prior).code == 0
    answer = hyperconv("sample", digits, "-i", "3:1", "-i", photos / "china.png", "-n", 2, "--out", tmp_path / "around")
    assert answer.code == 0 and "4 samples" in answer.out
    answer = hyperconv(
        "interpolate", digits, "3:1", digits / "held_out" / "8" / "001.png", "--steps", 4, "--out", tmp_path / "walk"
    )
    assert answer.code == 0 and (tmp_path / "walk" / "3_1-001.png").is_file()
    assert len(list((tmp_path / "walk").iterdir())) == 5
    answer = hyperconv(
        "invert", digits, digits / "held_out" / "8" / "001.png", "--steps", 5, "-n", 2, "--out", tmp_path / "eight"
    )
    assert answer.code == 0 and "after 5 steps" in answer.out
    assert sorted(path.name for path in (tmp_path / "eight").iterdir()) == [
        "edit_01.png",
        "edit_02.png",
        "reconstruction.png",
        "sheet.png",
        "variation_01.png",
        "variation_02.png",
    ]
    answer = hyperconv("evaluate", digits, "-n", 20, "--out", tmp_path / "scores")
    assert answer.code == 0 and "precision" in answer.out and "features: contrastive" in answer.out
    assert contents(digits) == before


def test_resume(hyperconv, digits):
    before = (digits / "model.safetensors").read_bytes()
    answer = hyperconv("train", "--resume", "--out", digits)
    assert answer.code == 0 and "continued from scale 1, step 12" in answer.out
    assert (digits / "model.safetensors").read_bytes() == before
    assert hyperconv("train", "--resume", "--out", digits, "--augment", "color").complains("augment")


def test_transfer(hyperconv, digits, tmp_path):
    answer = hyperconv(
        "train",
        digits / "held_out" / "9",
        "--out",
        tmp_path / "nines",
        "--system",
        "dip",
        "--from",
        digits,
        "--transfer",
        "freeze-d",
        "--augment",
        "translation,cutout",
        "--iterations",
        "4",
        "--device",
        "cpu",
    )
    assert answer.code == 0 and "1 folders, 100 images of 8 px" in answer.out and f"from {digits}" in answer.out
    assert hyperconv("sample", tmp_path / "nines", "-n", 1, "-i", "9:100").code == 0
    without = hyperconv(
        "train", "--examples", "--out", tmp_path / "plain", *QUICK, "--without-prior", "--iterations", 2
    )
    assert without.code == 0 and "a constant for features" in without.out
    assert hyperconv("sample", tmp_path / "plain", "--prior", "gmm").complains("without the prior")
    assert hyperconv("interpolate", tmp_path / "plain", "1:1", "2:2").complains("without the prior")


def test_each_system_refuses_the_runs_of_the_other(hyperconv, digits, run, photos):
    for verb in (
        ["adapt", digits, photos / "china.png"],
        ["retarget", digits, "--size", "64x64"],
        ["reconstruct", digits],
        ["superres", digits],
        ["paint", digits, photos / "china.png"],
        ["adapt", digits, "--shots", photos],
    ):
        assert hyperconv(*verb).complains("--system dip", "hyperconv sample")
    assert hyperconv("invert", run, photos / "china.png").complains("--system meta", "single photos")
    assert hyperconv("sample", run, "--prior", "gmm").complains("--prior")
    assert hyperconv("evaluate", run, "--features", "x.pth").complains("--features")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["sample", "RUN", "--size", "64x64"], ["--size"]),
        (["sample", "RUN", "--image", "11:1"], ["'11:1'", "0:1"]),
        (["sample", "RUN", "--image", "1:1", "--prior", "gmm"], ["--prior"]),
        (["interpolate", "RUN", "1:1", "2:1", "3:1", "4:1"], ["4 images"]),
        (["interpolate", "RUN", "1:1", "2:1", "--space", "weights"], ["--space"]),
        (["invert", "RUN", "absent.png"], ["absent.png"]),
        (["evaluate", "RUN", "--sifid", "x"], ["--sifid"]),
        (["evaluate", "RUN", "--features", "absent.pth"], ["absent.pth"]),
        (["evaluate", "RUN", "-n", "3"], ["3 samples"]),
        (["train", "--out", "NEW", "--system", "dip"], ["--examples"]),
        (["train", "a", "b", "--out", "NEW", "--system", "dip"], ["one folder"]),
        (["train", "--examples", "--out", "NEW", "--system", "dip", "--tasks", "2"], ["no setting tasks"]),
        (["train", "--examples", "--out", "NEW", "--system", "dip", "--transfer", "freeze-d"], ["--from"]),
        (["train", "--examples", "--out", "NEW", "--system", "dip", "--augment", "blur"], ["'blur'"]),
        (
            ["train", "--examples", "--out", "NEW", "--system", "dip", "--from", "RUN", "--image-size", "16"],
            ["image_size"],
        ),
        (["train", "--examples", "--out", "NEW", "--system", "dip", "--from", "RUN", "--preset", "tiny"], ["--preset"]),
        (["train", "--examples", "--out", "NEW", "--from", "RUN"], ["--system dip"]),
        (["train", "--examples", "--out", "NEW", "--augment", "color"], ["meta has no setting augment"]),
    ],
)
def test_bad_use(hyperconv, digits, tmp_path, arguments, told):
    places = {"RUN": digits, "NEW": tmp_path / "new"}
    assert hyperconv(*(places.get(word, word) for word in arguments)).complains(*told)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_photos(hyperconv, photos, tmp_path):
    answer = hyperconv(
        "train", photos, "--out", tmp_path / "run", *QUICK, "--iterations", 2, "--image-size", 16, "--without-prior"
    )
    assert answer.code == 0 and "1 folders, 3 images of 16 px" in answer.out
    assert hyperconv("sample", tmp_path / "run", "-n", 2).code == 0
    assert hyperconv("evaluate", tmp_path / "run").complains("3 images", "6 or more")

import json

import pytest
import torch
from PIL import Image

from hyperconv.apps.evaluate import Evaluation, PhotoScores
from hyperconv.apps.scorecard import FILES
from hyperconv.cli.distributions import print_table
from hyperconv.cli.evaluate import score_table


def files(folder):
    return sorted(file.name for file in folder.iterdir())


def test_scores_a_run(hyperconv, run, tmp_path):
    answer = hyperconv("evaluate", run, "--count", 2)
    assert answer.code == 0 and answer.error == ""
    for word in ("china", "coffee", "astronaut", "patch SWD", "mean", "median", "0: ", str(run / "evaluation")):
        assert word in answer.out
    assert set(FILES) <= set(files(run / "evaluation"))
    assert hyperconv("evaluate", run, "--count", 2).complains("evaluation.json", "--force")
    before = (run / "evaluation" / "evaluation.json").read_text()
    assert hyperconv("evaluate", run, "--count", 2, "--force").code == 0
    assert (run / "evaluation" / "evaluation.json").read_text() == before


def test_photos_against_other_images_with_sifid(hyperconv, run, inception_file, tmp_path):
    hyperconv("sample", run, "--count", 2, "--seed", 4, "-i", "coffee", "--out", tmp_path / "other")
    answer = hyperconv(
        "evaluate",
        run,
        "-i",
        "coffee",
        "-i",
        "astro",
        "-n",
        2,
        "--seed",
        4,
        "--no-each-scale",
        "--out",
        tmp_path / "out",
        "--against",
        tmp_path / "other",
        "--sifid",
        inception_file,
        "--sifid-block",
        64,
    )
    assert answer.code == 0 and "SIFID (64-d)" in answer.out and "china" not in answer.out
    assert answer.error == f"no image in {tmp_path / 'other'}: 1 of 2 photos (astronaut)\n"
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    coffee = content["photos"][0]
    assert coffee["against"]["patch_swd"] == pytest.approx(coffee["samples"]["patch_swd"], abs=2e-3)
    assert coffee["against"]["sifid_64"] == pytest.approx(coffee["samples"]["sifid_64"], rel=0.05)
    assert len(coffee["diversity_from"]) == 1


def test_photos_the_run_never_saw(hyperconv, run, photos, tmp_path):
    folder = tmp_path / "unseen"
    folder.mkdir()
    Image.open(photos.parent / "flower.png").save(folder / "flower.png")
    (folder / "broken.png").write_text("no image")
    Image.new("RGB", (9, 9)).save(folder / "dot.png")
    answer = hyperconv("evaluate", run, "--photos", folder, "-n", 2)
    assert files(run / "evaluation" / "unseen") == sorted(FILES)
    assert answer.code == 0 and "flower" in answer.out and "china" not in answer.out
    broken, dot = answer.error.splitlines()
    assert "broken.png" in broken and dot.startswith("left out: ") and "dot.png" in dot and "9x9" in dot
    assert hyperconv("evaluate", run, "--photos", folder / "dot.png", "--force").complains("dot.png", "9x9")


def test_photos_too_small_for_sifid_are_left_out(hyperconv, run, photos, inception_file, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    Image.open(photos.parent / "flower.png").resize((60, 60)).save(folder / "square.png")
    Image.open(photos.parent / "flower.png").resize((60, 30)).save(folder / "wide.png")
    answer = hyperconv("evaluate", run, "--photos", folder, "-n", 2, "--sifid", inception_file)
    assert answer.code == 0 and "square" in answer.out and "wide" not in answer.out
    assert answer.error.startswith("left out: wide is 12x24") and answer.error.count("\n") == 1


def test_on_a_terminal_there_is_a_bar(hyperconv, run, tmp_path, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    answer = hyperconv("evaluate", run, "-n", 1, "--out", tmp_path)
    assert answer.code == 0 and "\x1b[" in answer.out and "evaluating" in answer.out and "100%" in answer.out


def test_help_teaches_by_example(hyperconv):
    answer = hyperconv("evaluate", "--help")
    assert answer.code == 0 and "hyperconv evaluate run --against" in answer.out.split("Examples:")[1]


def test_bad_input(hyperconv, run, photos, inception_file, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    for arguments, told in [
        ([tmp_path / "absent"], ["absent"]),
        ([photos], [str(photos), "not a run"]),
        ([run, "-i", "zebra"], ["'zebra'", "astronaut, china, coffee"]),
        ([run, "--count", "0"], ["--count"]),
        ([run, "--device", "abacus"], ["abacus"]),
        ([run, "--against", tmp_path / "absent"], ["absent", "no such folder"]),
        ([run, "--against", tmp_path / "empty"], ["empty", "astronaut_1.png"]),
        ([run, "--photos", tmp_path / "empty"], ["empty", "no images"]),
        ([run, "--sifid", tmp_path / "absent.pth"], ["absent.pth", "no such file"]),
        ([run, "--sifid", tmp_path / "text.pth"], ["text.pth: not a file of network weights", "pt_inception"]),
        ([run, "--sifid", photos / "china.png"], ["china.png: not a file of network weights", "pt_inception"]),
        ([run, "--sifid", tmp_path / "resnet.pth"], ["resnet.pth", "not the weights of Inception v3"]),
        ([run, "--sifid", inception_file, "--sifid-block", "2048"], ["2048", "--sifid-block"]),
        ([run, "--sifid", inception_file], ["china", "16x24", "need 23"]),
    ]:
        answer = hyperconv("evaluate", *arguments, "--out", tmp_path / "out")
        assert answer.complains(*told), (arguments, answer)
        assert not (tmp_path / "out").exists()


def scored(name):
    numbers = {"patch_swd": 0.12345, "coherence": 0.012345, "diversity": 0.5, "sifid_192": 1.25}
    rest = {"reconstruction_rmse": 0.0625, "reconstruction_psnr": 24.5}
    return Evaluation([PhotoScores(name, (20, 30), numbers | rest, [0.5])])


@pytest.mark.parametrize("name", ["n" * 200, "a long name " * 20])
def test_a_long_name_takes_no_numbers_from_the_table(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    print_table(score_table(scored(name)))
    assert name.strip() in capsys.readouterr().out, "where nobody looks, there is room for everything"
    for variable, value in {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}.items():
        monkeypatch.setenv(variable, value)
    print_table(score_table(scored(name)))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if name[:6] in line]
    for number in ("0.1235", "0.01235", "0.500", "1.250", "0.0625", "24.50"):
        assert number in row

"""Whatever is wrong, one line says it, and the exit code is 2."""

import errno
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from hyperconv.errors import TrainingDiverged


@pytest.fixture
def broken(tmp_path):
    """Files that are no photos, or none that can be used."""
    (tmp_path / "text.jpg").write_text("this is no image")
    Image.new("RGB", (5, 5)).save(tmp_path / "dot.png")
    Image.new("RGB", (200, 200)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "whole.png").unlink()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "name, told",
    [
        ("absent.jpg", "no such file"),
        ("text.jpg", "not an image"),
        ("dot.png", "5x5"),
        ("half.png", "cannot be read"),
        ("empty", "no images"),
    ],
)
def test_photos_that_cannot_be_used(hyperconv, quick, broken, run, tmp_path, name, told):
    assert hyperconv("train", broken / name, "--out", tmp_path / "run", *quick).complains(name, told)
    assert not (tmp_path / "run").exists()
    if name != "empty":
        assert hyperconv("adapt", run, broken / name).complains(name, told)


def test_a_broken_photo_among_good_ones_is_named_and_training_goes_on(hyperconv, quick, photos, broken, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    for name in ("text.jpg", "dot.png", "half.png"):
        shutil.copy(broken / name, folder)
    answer = hyperconv("train", folder, "--out", tmp_path / "run", *quick)
    assert answer.code == 0 and "3 photos" in answer.out
    lines = answer.error.splitlines()
    assert len(lines) == 3
    for name in ("text.jpg", "dot.png", "half.png"):
        assert sum(name in line for line in lines) == 1


def test_alpha_is_composited_with_a_word(hyperconv, quick, photos, tmp_path):
    image = Image.open(photos / "coffee.png").convert("RGBA")
    image.putalpha(128)
    image.save(tmp_path / "glass.png")
    answer = hyperconv("train", photos, tmp_path / "glass.png", "--out", tmp_path / "run", *quick)
    assert answer.code == 0 and "4 photos" in answer.out
    assert answer.error == "glass: alpha composited over white\n"


def test_grey_photos_train_with_one_channel(hyperconv, quick, photos, tmp_path):
    folder = tmp_path / "grey"
    folder.mkdir()
    for name in ("coffee", "china"):
        Image.open(photos / f"{name}.png").convert("L").save(folder / f"{name}.png")
    assert hyperconv("train", folder, "--out", tmp_path / "run", *quick).code == 0
    assert hyperconv("sample", tmp_path / "run", "-n", 1, "--out", tmp_path / "out").code == 0
    assert Image.open(tmp_path / "out" / "china_01.png").mode == "L"
    assert hyperconv("adapt", tmp_path / "run", photos.parent / "flower.png", "-n", 1).code == 0


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--image", "zebra"], ["'zebra'", "astronaut, china, coffee"]),
        (["--image", "c"], ["'c'", "china, coffee"]),
        (["--size", "big"], ["'big'", "128x192"]),
        (["--size", "64"], ["'64'"]),
        (["--size", "-5x20"], ["'-5x20'"]),
        (["--size", "4x20"], ["4x20", "11"]),
        (["--size", "11x999999999"], ["11x999999999 pixels", "GB", "smaller"]),
        (["--size", "100000000000000000000x99"], ["100000000000000000000x99 pixels", "GB", "smaller"]),
        (["--start-scale", "2"], ["2", "0 to 1"]),
        (["--count", "0"], ["--count"]),
        (["--seed", "red"], ["--seed"]),
        (["--device", "abacus"], ["abacus", "--device cpu"]),
        (["--colour"], ["--colour", "sample --help"]),
    ],
)
def test_sample(hyperconv, run, tmp_path, arguments, told):
    assert hyperconv("sample", run, "--out", tmp_path / "samples", *arguments).complains(*told)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["china", "zebra"], ["zebra"]),
        (["china"], ["1 given", "name 2 or 4"]),
        ([], ["A B [C D]"]),
        (["china", "coffee", "--steps", "1"], ["--steps"]),
        (["china", "coffee", "--scales", "fine"], ["--scales 'fine'", "2-3"]),
        (["china", "coffee", "--scales", "1-2"], ["scales 1 to 2", "0 to 1"]),
        (["china", "coffee", "--space", "outer"], ["outer", "weights"]),
    ],
)
def test_interpolate(hyperconv, run, arguments, told):
    assert hyperconv("interpolate", run, *arguments).complains(*told)


def test_runs_that_are_none(hyperconv, run, photos, tmp_path):
    truncated = shutil.copytree(run, tmp_path / "truncated")
    content = (truncated / "model.safetensors").read_bytes()
    (truncated / "model.safetensors").write_bytes(content[:-100])
    (truncated / "training_state.safetensors").write_bytes(content[:100])
    corrupt = shutil.copytree(run, tmp_path / "corrupt")
    (corrupt / "config.json").write_bytes(b"\xff\x00 not json")
    foreign = shutil.copytree(run, tmp_path / "foreign")
    (foreign / "config.json").write_text('{"max_size": "large"}')
    assert hyperconv("sample", photos).complains(str(photos), "not a run")
    assert hyperconv("sample", tmp_path / "absent").complains("absent")
    assert hyperconv("sample", truncated).complains("model.safetensors")
    assert hyperconv("train", "--resume", "--out", truncated).complains("training_state.safetensors")
    assert hyperconv("interpolate", corrupt, "china", "coffee").complains("config.json")
    assert hyperconv("adapt", foreign, photos / "china.png").complains("config.json")
    assert hyperconv("train", "--resume", "--out", tmp_path / "absent").complains("absent")


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], ["no photos given"]),
        (["--examples", "photos"], ["--examples"]),
        (["--preset", "huge"], ["huge"]),
        (["--examples", "--iterations", "0"], ["--iterations"]),
        (["--examples", "--iterations", "5,x"], ["5,x"]),
        (["--examples", "--max-size", "20", "--min-size", "30"], ["min_size 30", "max_size 20"]),
        (["--examples", "--batch-size", "0"], ["--batch-size"]),
        (["--examples", "--device", "abacus"], ["abacus"]),
        (["--examples", "--system", "magic"], ["magic"]),
        (["--examples", "--preset", "small", "--max-size", "24", "--backbone-weights", "no.pth"], ["no.pth"]),
        (["--examples", "--backbone-weights", "no.pth"], ["conv"]),
    ],
)
def test_train(hyperconv, tmp_path, arguments, told):
    assert hyperconv("train", "--out", tmp_path / "run", *arguments).complains(*told)
    assert not (tmp_path / "run").exists()


def test_where_a_run_cannot_go(hyperconv, quick, photos, run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert hyperconv("train", photos, *quick).complains("--out")
    assert hyperconv("train", photos, "--out", run, *quick).complains(str(run), "--resume")
    assert hyperconv("train", photos, "--out", tmp_path / "file", *quick).complains("file")
    assert hyperconv("train", photos, "--out", tmp_path / "file" / "run", *quick).complains("file")
    assert hyperconv("sample", run, "--out", tmp_path / "file").complains("file")


def test_resuming_with_other_settings(hyperconv, run):
    assert hyperconv("train", "--resume", "--out", run, "--max-size", 64).complains("max_size is 24, not 64")
    assert hyperconv("train", "--resume", "--out", run, "--preset", "paper").complains("a resumed run keeps")
    assert hyperconv("train", "--resume", "--out", run, "--hold-out", "china").complains("--hold-out", "--resume")
    assert hyperconv("train", "--resume", "--out", run, "--from", run).complains("--from", "--resume")


def test_resuming_with_photos(hyperconv, run, photos):
    assert hyperconv("train", photos, "--resume", "--out", run).complains("run keeps its photos", "leave IMAGES out")
    assert hyperconv("train", "--examples", "--resume", "--out", run).complains("leave --examples out")


def test_unknown_verbs(hyperconv):
    assert hyperconv("trian").complains("trian", "train")
    answer = hyperconv()
    assert answer.code == 2 and answer.error.count("\n") == 1 and "Usage" in answer.out


@pytest.mark.parametrize(
    "error, code, told",
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "the disk is full"),
        (
            PermissionError(errno.EACCES, "Permission denied", "there"),
            2,
            "cannot use there: Permission denied",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            1,
            "out of memory",
        ),
        (TrainingDiverged("training diverged at scale 0"), 1, "training diverged"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_can_happen_on_the_way(hyperconv, run, monkeypatch, error, code, told):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("hyperconv.cli.sample.write_samples", fail)
    answer = hyperconv("sample", run)
    assert answer.code == code
    assert answer.error.startswith("hyperconv: ") and answer.error.count("\n") == 1 and told in answer.error


def test_the_unexpected_goes_to_a_log(hyperconv, run, monkeypatch, tmp_path):
    def fail(*arguments, **options):
        raise ZeroDivisionError("quite\nunexpected")

    monkeypatch.setattr("hyperconv.cli.sample.write_samples", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = hyperconv("sample", run)
    (log,) = tmp_path.glob("hyperconv-*.log")
    assert answer.code == 1
    assert answer.error == (f"hyperconv: ZeroDivisionError: quite unexpected (unexpected; the full log is in {log})\n")
    assert "Traceback" in log.read_text() and "in fail" in log.read_text()


def test_a_traceback_on_request(run, monkeypatch):
    from hyperconv.cli.main import main

    def fail(*arguments, **options):
        raise ZeroDivisionError("wanted")

    monkeypatch.setattr("hyperconv.cli.sample.write_samples", fail)
    monkeypatch.setenv("HYPERCONV_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError, match="wanted"):
        main(["sample", str(run)])


def test_the_log_takes_any_letters_and_does_without_a_place(hyperconv, run, monkeypatch, tmp_path):
    def fail(*arguments, **options):
        raise ZeroDivisionError("d\udcfcnn \u2013")

    monkeypatch.setattr("hyperconv.cli.sample.write_samples", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = hyperconv("sample", run)
    (log,) = tmp_path.glob("hyperconv-*.log")
    assert answer.code == 1 and answer.error.count("\n") == 1 and "d\\udcfcnn \u2013" in log.read_text("utf-8")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    answer = hyperconv("sample", run)
    assert answer.code == 1 and answer.error.count("\n") == 1
    assert "no log could be written: No such file" in answer.error


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_in_an_encoding_without_the_letters(run, tmp_path, encoding):
    out = tmp_path / "d\u00fc\u2013nn"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "hyperconv", "evaluate", str(run), "-n", "1", "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    assert (out / "evaluation.json").is_file() and b"mean" in done.stdout

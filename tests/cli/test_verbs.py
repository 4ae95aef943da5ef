"""Every verb, end to end, on real photos."""

import json
import re
import shlex
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from hyperconv.cli.training import how_to_go_on, next_verb
from hyperconv.errors import InputError
from hyperconv.gan import presets
from hyperconv.gan.run import Run
from hyperconv.ops import native
from hyperconv.version import __version__


def files(folder):
    return sorted(file.name for file in folder.iterdir())


def test_train_writes_a_run_and_says_where(hyperconv, quick, photos, tmp_path):
    answer = hyperconv(
        "train",
        photos,
        "--out",
        tmp_path / "run",
        *quick,
        "--iterations",
        "10,2",
        "--seed",
        3,
        "--tensorboard",
    )
    assert answer.code == 0 and answer.error == ""
    assert "3 photos, 2 scales up to 24 px, 12 steps" in answer.out
    assert f"run: {tmp_path / 'run'}\n" in answer.out and f"next: hyperconv sample {tmp_path / 'run'}\n" in answer.out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["seed"], config["max_size"], config["iterations"]) == (3, 24, [10, 2])
    assert files(tmp_path / "run") == [
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "photos.safetensors",
        "samples",
        "tensorboard",
        "training_state.safetensors",
    ]


def test_what_is_trained_is_said_before_anything_is_prepared(hyperconv, quick, photos, tmp_path, monkeypatch):
    def prepare(*arguments):
        raise InputError("not now")

    monkeypatch.setattr("hyperconv.gan.meta.MetaGAN.prepare", prepare)
    answer = hyperconv("train", photos, "--out", tmp_path / "run", *quick)
    assert answer.complains("not now") and "3 photos, 2 scales up to 24 px" in answer.out
    assert not (tmp_path / "run").exists()


def test_away_from_a_terminal_progress_is_plain_lines(hyperconv, quick, photos, tmp_path):
    answer = hyperconv("train", photos, "--out", tmp_path / "run", *quick, "--iterations", "10,2")
    assert re.search(
        r"^scale 1/2 \(16 px\)  step 10/10  reconstruction [\d.]+  \d+:\d\d left$", answer.out, re.MULTILINE
    )
    assert re.search(r"^scale 2/2 \(24 px\)  step 2/2  0:00 left$", answer.out, re.MULTILINE)
    assert "\x1b" not in answer.out


def test_on_a_terminal_there_are_bars(hyperconv, quick, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    answer = hyperconv("train", photos, "--out", tmp_path / "run", *quick)
    assert answer.code == 0 and "\x1b[" in answer.out
    assert "overall" in answer.out and "scale 2/2 (24 px)" in answer.out and "100%" in answer.out


def test_train_on_the_bundled_examples(hyperconv, quick, tmp_path):
    answer = hyperconv("train", "--examples", "--out", tmp_path / "run", *quick, "--iterations", 1)
    assert answer.code == 0 and "10 photos" in answer.out


def test_resuming_a_finished_run_changes_nothing(hyperconv, run):
    before = (run / "model.safetensors").read_bytes()
    answer = hyperconv("train", "--resume", "--out", run)
    assert answer.code == 0 and "continued from scale 2, step 1" in answer.out
    assert (run / "model.safetensors").read_bytes() == before


def test_a_preset_named_again_leaves_the_learning_rate_of_an_earlier_resume(hyperconv, tmp_path, run):
    resumed = shutil.copytree(run, tmp_path / "run")
    config = json.loads((resumed / "config.json").read_text())
    same = ["--max-size", 24, "--min-size", 16, "--scale-count", 2, "--iterations", "2,1"]
    for options in (["--learning-rate", 1e-4], ["--preset", "tiny", *same]):
        assert hyperconv("train", "--resume", "--out", resumed, *options).code == 0
        assert json.loads((resumed / "config.json").read_text()) == {**config, "learning_rate": 1e-4}


def test_sample_draws_every_photo(hyperconv, run):
    answer = hyperconv("sample", run, "--count", 2)
    assert answer.code == 0 and f"6 samples in {run / 'samples'}" in answer.out
    assert {f"{name}_0{i}.png" for name in ("astronaut", "china", "coffee") for i in (1, 2)} < set(
        files(run / "samples")
    )


def test_sample_takes_names_sizes_and_scales(hyperconv, run, tmp_path):
    answer = hyperconv(
        "sample",
        run,
        "--image",
        "coffee.png",
        "-i",
        "chi",
        "-n",
        1,
        "--size",
        "20x48",
        "--start-scale",
        1,
        "--seed",
        5,
        "--out",
        tmp_path,
    )
    assert answer.code == 0
    assert files(tmp_path) == ["china_01.png", "coffee_01.png", "sheet.png"]
    assert Image.open(tmp_path / "china_01.png").size == (48, 20)


def test_sampling_twice_writes_the_same_images(hyperconv, run, tmp_path):
    for folder in ("a", "b"):
        hyperconv("sample", run, "-i", "china", "-n", 2, "--out", tmp_path / folder)
    assert (tmp_path / "a" / "china_02.png").read_bytes() == (tmp_path / "b" / "china_02.png").read_bytes()
    assert (tmp_path / "a" / "china_01.png").read_bytes() != (tmp_path / "a" / "china_02.png").read_bytes()


@pytest.mark.parametrize("space", ["embedding", "weights"])
def test_interpolate(hyperconv, run, photos, tmp_path, space):
    answer = hyperconv(
        "interpolate",
        run,
        "china",
        photos.parent / "flower.png",
        "--steps",
        3,
        "--space",
        space,
        "--out",
        tmp_path,
    )
    assert answer.code == 0 and str(tmp_path / "china-flower.png") in answer.out
    assert "neighbours differ by a patch SWD of 0." in answer.out
    ends = ("", "_01", "_02", "_03", "_smoothness")
    assert files(tmp_path) == [f"china-flower{end}.png" for end in ends]


def test_interpolate_fine_scales_and_between_four(hyperconv, run, tmp_path):
    walk = hyperconv("interpolate", run, "china", "coffee", "--steps", 2, "--scales", "1-", "--out", tmp_path / "walk")
    assert walk.code == 0 and walk.out.startswith("2 frames in ")
    four = ("china", "coffee", "astronaut", "china")
    grid = hyperconv("interpolate", run, *four, "--steps", 2, "--out", tmp_path / "grid")
    assert grid.code == 0 and grid.out.startswith("4 frames in ") and len(files(tmp_path / "grid")) == 6


def test_adapt(hyperconv, run, photos):
    answer = hyperconv("adapt", run, photos.parent / "flower.png", "--count", 1, "--tune-steps", 2)
    folder = run / "adapted" / "flower"
    assert answer.code == 0 and str(folder / "sheet.png") in answer.out
    assert files(folder) == ["reconstruction.png", "sample_01.png", "sheet.png"]


def test_nothing_is_written_over(hyperconv, run, photos, tmp_path):
    flower = photos.parent / "flower.png"
    for arguments, file in (
        (("sample", run, "-i", "china", "-n", 1), "china_01.png"),
        (("interpolate", run, "china", "coffee", "--steps", 2), "china-coffee_01.png"),
        (("adapt", run, flower, "-n", 1), "reconstruction.png"),
    ):
        arguments = (*arguments, "--out", tmp_path / arguments[0])
        assert hyperconv(*arguments).code == 0
        assert hyperconv(*arguments).complains(file, "--force")
        assert hyperconv(*arguments, "--force").code == 0


def test_demo(hyperconv, tmp_path, monkeypatch):
    quick = presets.preset("tiny", max_size=24, min_size=16, scale_count=2, iterations=(1,))
    monkeypatch.setitem(presets.PRESETS["meta"], "tiny", quick)
    answer = hyperconv("demo", "--out", tmp_path / "demo", "--device", "cpu")
    assert answer.code == 0
    pictures = re.findall(r"\S+\.png", answer.out)
    assert len(pictures) == 4
    assert all(Image.open(picture).width > 100 for picture in pictures)


def test_info(hyperconv):
    answer = hyperconv("info")
    assert answer.code == 0 and "native" in answer.out
    assert native.status("cpu") or "AMX for bfloat16" in answer.out


def test_version(hyperconv):
    assert hyperconv("--version").out == f"hyperconv {__version__}\n"


@pytest.mark.parametrize(
    "verb",
    [
        (),
        *((verb,) for verb in ("train", "sample", "retarget", "superres", "animate", "harmonize", "edit", "paint")),
        *((verb,) for verb in ("style", "interpolate", "adapt", "reconstruct", "demo", "info")),
    ],
)
def test_help_teaches_by_example(hyperconv, verb):
    answer = hyperconv(*verb, "--help")
    assert answer.code == 0
    assert " ".join(["hyperconv", *verb]) in re.split("Examples?:|A first tour:", answer.out)[1]


def test_every_preset_is_named_in_the_help(hyperconv):
    told = re.sub(r"[\s│]+", " ", hyperconv("train", "--help").out)
    for system, named in presets.PRESETS.items():
        assert f"{system}: {', '.join(named)}" in told


def test_a_long_command_in_the_help_keeps_its_line_break(hyperconv):
    lines = [line.strip() for line in hyperconv("train", "--help").out.splitlines()]
    first = lines.index("torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d \\")
    assert lines[first + 1] == "--rdzv-endpoint host:29500 -m hyperconv train photos/ --out run"


@pytest.mark.parametrize("system", ["meta", "reptile"])
def test_commands_to_type_next_are_quoted(tmp_path, system):
    trainer, out = SimpleNamespace(config=SimpleNamespace(system=system)), tmp_path / "my run"
    (out / "held_out" / "8").mkdir(parents=True)
    (out / "held_out" / "8" / "001.png").touch()
    words = shlex.split(next_verb(trainer, out))
    assert words[2] == str(out) and words[4:5] == ([str(out / "held_out" / "8")] if system == "reptile" else [])
    assert shlex.split(how_to_go_on(Run(out, None)))[-1] == str(out)


def test_a_preset_of_another_system_is_refused(hyperconv, photos, tmp_path):
    answer = hyperconv("train", photos, "--out", tmp_path / "run", "--preset", "paper-places", "--system", "singan")
    assert answer.complains("no preset of singan", "paper-animate") and not (tmp_path / "run").exists()


@pytest.mark.parametrize("system", ["consingan", "singan"])
def test_gans_of_single_photos(hyperconv, photos, tmp_path, system):
    run = tmp_path / "run"
    options = ["--max-size", 24, "--min-size", 11, "--scale-count", 2, "--iterations", "2"]
    answer = hyperconv("train", photos, "--out", run, "--system", system, "--device", "cpu", *options)
    assert answer.code == 0 and "3 of 3 photos" in answer.out and "an hour" in answer.out
    assert hyperconv("sample", run, "--count", 1, "--image", "china").code == 0
    assert hyperconv("adapt", run, photos.parent / "flower.png").complains("knows its own photos only", system)
    assert hyperconv("interpolate", run, "china", "coffee").complains("--system meta", system)

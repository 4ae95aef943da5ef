"""A photo's model in a file of its own: most verbs take it in place of a run."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from hyperconv.apps.adapt import adapt
from hyperconv.apps.model import Model
from hyperconv.apps.sample import draw, sample


@pytest.fixture(scope="module")
def exported(run, photos, tmp_path_factory):
    """The file of flower's model, which the run never saw."""
    from hyperconv.cli.main import main

    file = tmp_path_factory.mktemp("exported") / "flower.safetensors"
    with pytest.raises(SystemExit) as left:
        main(
            [
                "adapt",
                str(run),
                str(photos.parent / "flower.png"),
                "--export",
                str(file),
                "--out",
                str(file.parent / "adapted"),
            ]
        )
    assert left.value.code == 0
    return file


def test_it_draws_what_the_hypernetworks_model_draws(exported, run, photos):
    model, whole = Model.open(exported, "cpu"), Model.open(run, "cpu")
    assert model.names == ["flower"] and exported.stat().st_size < 0.1 * (run / "model.safetensors").stat().st_size
    expected = draw(adapt(whole, photos.parent / "flower.png"), 2, seed=3)
    for one, other in zip(sample(model, "flower", 2, seed=3), expected, strict=True):
        assert one.equal(other)
    assert sample(model, 0, size=(20, 50))[0].shape == (3, 20, 50)


def test_these_verbs_take_it(hyperconv, exported, photos, tmp_path):
    mask = photos / "china.png"
    verbs = [
        ("sample",),
        ("retarget", "--size", "20x40"),
        ("superres", "--factor", 2),
        ("animate", "--frames", 2),
        ("harmonize", photos.parent / "flower.png", "-m", mask),
        ("edit", photos.parent / "flower.png", "-m", mask),
        ("paint", photos / "coffee.png", "--retrain", 1),
        ("style", photos / "coffee.png"),
        ("reconstruct",),
        ("evaluate", "-n", 2),
    ]
    for verb, *options in verbs:
        answer = hyperconv(verb, exported, *options, "--out", tmp_path / verb)
        assert answer.code == 0, answer.error
        assert any((tmp_path / verb).iterdir())
    assert hyperconv("sample", exported, "-n", 1).code == 0
    assert (exported.parent / "flower" / "samples" / "sheet.png").is_file()


def test_what_it_cannot_do(hyperconv, exported, run, photos):
    coffee = photos / "coffee.png"
    assert hyperconv("adapt", exported, coffee).complains("knows its own photos only (flower)")
    assert hyperconv("interpolate", exported, "flower", coffee).complains("only a run of --system meta")
    again = ("adapt", run, photos.parent / "flower.png", "--export", exported, "--out", exported.parent / "other")
    assert hyperconv(*again).complains("flower.safetensors is there already", "--force")
    folder = ("--export", exported.parent, "--out", exported.parent / "other", "--tune-steps", 10**9, "--force")
    assert hyperconv("adapt", run, photos.parent / "flower.png", *folder).complains(f"{exported.parent} is a folder")


def test_damaged_and_foreign_files_are_refused_in_one_line(hyperconv, exported, run, photos, tmp_path):
    content = exported.read_bytes()
    truncated, flipped = tmp_path / "truncated.safetensors", tmp_path / "flipped.safetensors"
    truncated.write_bytes(content[:-10])
    flipped.write_bytes(content[:-10] + bytes([content[-10] ^ 4]) + content[-9:])
    stripped = tmp_path / "stripped.safetensors"  # another program's file with the same tensors
    save_file(load_file(exported), stripped)
    whole = tmp_path / "model.safetensors"
    shutil.copy(run / "model.safetensors", whole)
    for file in (truncated, flipped, stripped, whole, photos / "china.png"):
        assert hyperconv("sample", file).complains(file.name, "adapt --export"), file


def test_tuning_the_embedding(hyperconv, run, photos, tmp_path):
    flower = photos.parent / "flower.png"
    answer = hyperconv("adapt", run, flower, "--tune", "embedding", "--tune-steps", 3, "-n", 1, "--out", tmp_path / "a")
    assert answer.code == 0, answer.error


def test_a_file_without_suffix_is_used_as_any(hyperconv, exported, tmp_path):
    shutil.copy(exported, tmp_path / "flower")
    assert hyperconv("sample", tmp_path / "flower", "-n", 1).code == 0
    assert (tmp_path / "flower_results" / "samples" / "flower_01.png").is_file()


def test_the_next_command_can_be_pasted(hyperconv, run, photos, tmp_path):
    file = tmp_path / "a flower.safetensors"
    adapt = ("adapt", run, photos.parent / "flower.png", "--export", file, "-n", 1, "--out", tmp_path / "out")
    assert f"next: hyperconv sample '{file}'\n" in hyperconv(*adapt).out


def test_help_names_the_verbs_that_take_it(hyperconv):
    text = " ".join(hyperconv("adapt", "--help").out.replace("│", " ").split())
    assert "that every verb takes" not in text and "retarget, superres, animate" in text


def test_options_that_mean_nothing_to_a_photo(hyperconv, run, photos):
    adapt = ("adapt", run, photos.parent / "flower.png")
    assert hyperconv(*adapt, "-k", 3).complains("-k", "--shots")
    assert hyperconv(*adapt, "--tune", "embedding").complains("--tune embedding", "--tune-steps")
    assert hyperconv(*adapt, "--tune", "embedding", "--tune-steps", 0).complains("--tune-steps")

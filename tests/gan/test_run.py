"""Where a run can be made, and what is left where that fails."""

import os

import pytest

from hyperconv.errors import InputError
from hyperconv.gan.run import Run

FILES = ["config.json", "photos.safetensors", "samples"]


def entries(folder):
    return sorted(entry.name for entry in folder.iterdir())


def full_disk(path):
    raise OSError("no space left")


@pytest.mark.parametrize("out", ["absent/run", "empty", ".", "link"])
def test_a_run_fills_an_absent_or_empty_folder(tmp_path, config, collection, monkeypatch, out):
    (tmp_path / "here" / "empty").mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    monkeypatch.chdir(tmp_path / ("linked" if out == "." else "here"))
    if out == "link":
        os.symlink("../linked", "link")
    run = Run.create(out, config, collection)
    assert entries(run.path) == FILES and Run.open(out).config == config
    assert len(run.collection()) == 3
    run.discard()
    assert os.path.isdir(out) == (out != "absent/run") and not os.path.exists(f"{out}/config.json")
    with pytest.raises(OSError, match="no space"):
        monkeypatch.setattr(collection, "save", full_disk)
        Run.create(out, config, collection)
    assert os.path.isdir(out) == (out != "absent/run") and not (os.path.isdir(out) and os.listdir(out))


def test_an_empty_folder_is_filled_where_it_is(tmp_path, config, collection):
    """Not replaced: it may be a mounted disk."""
    before = tmp_path.stat().st_ino
    Run.create(tmp_path, config, collection)
    assert entries(tmp_path) == FILES and tmp_path.stat().st_ino == before


@pytest.mark.parametrize("last", FILES)
def test_a_kill_while_a_run_is_made_does_not_block_the_next(tmp_path, config, collection, monkeypatch, last):
    replace = os.replace

    def killed(source, target):
        if target == tmp_path / last:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        patch.setattr(Run, "discard", lambda run: None)
        Run.create(tmp_path, config, collection)
    assert entries(tmp_path)
    with pytest.raises(InputError, match="not a run"):
        Run.open(tmp_path)
    Run.create(tmp_path, config, collection)
    assert entries(tmp_path) == FILES


@pytest.mark.parametrize("file", ["photos.safetensors", "config.json", "notes.txt"])
def test_a_folder_with_files_is_refused(tmp_path, config, collection, file):
    (tmp_path / file).write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        Run.create(tmp_path, config, collection)
    assert entries(tmp_path) == [file]


def test_a_run_that_another_process_made_meanwhile_stays(tmp_path, config, collection, monkeypatch):
    save = collection.save

    def slowly(path):
        save(path)
        (tmp_path / "config.json").write_text("the other's")

    monkeypatch.setattr(collection, "save", slowly)
    with pytest.raises(InputError, match="not empty"):
        Run.create(tmp_path, config, collection)
    assert (tmp_path / "config.json").read_text() == "the other's"

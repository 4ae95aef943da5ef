import pytest

from hyperconv.errors import InputError
from hyperconv.files import refuse_existing


def test_files_that_are_there_are_refused_by_name_unless_forced(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    refuse_existing(paths)
    paths[1].write_text("precious")
    with pytest.raises(InputError, match=r"b\.png is there already; .*--force"):
        refuse_existing(paths)
    paths[2].write_text("precious")
    with pytest.raises(InputError, match=r"b\.png and 1 more files are there already"):
        refuse_existing(map(str, paths))
    refuse_existing(paths, force=True)
    assert paths[1].read_text() == "precious"


def test_files_that_would_be_written_twice_are_refused(tmp_path):
    for force in (False, True):
        with pytest.raises(InputError, match=r"a\.png would be written twice"):
            refuse_existing([tmp_path / "a.png", tmp_path / "b.png", str(tmp_path / "a.png")], force)


def test_where_no_file_can_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    (tmp_path / "folder").mkdir()
    refuse_existing([tmp_path / "new" / "deep" / "a.png"])
    assert not (tmp_path / "new").exists()
    for path in ("file/a.png", "file/deep/a.png"):
        with pytest.raises(InputError, match=r"file is no folder.*--out"):
            refuse_existing([tmp_path / path])
    with pytest.raises(InputError, match="dangling is no folder"):
        refuse_existing([tmp_path / "dangling" / "a.png"])
    with pytest.raises(InputError, match="folder is a folder.*a file"):
        refuse_existing([tmp_path / "folder"], force=True)


def test_folders_without_permission_are_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path}: no permission to write here"):
        refuse_existing([tmp_path / "new" / "a.png"])

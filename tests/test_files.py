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

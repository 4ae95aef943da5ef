import pytest

from benchmarks.gallery import ROWS, RUNS, another_gland, save_jpeg, temple, temple_at_night
from hyperconv.data.examples import load_examples
from hyperconv.data.images import read_photo


@pytest.mark.parametrize("composite, name", [(temple_at_night, "rocket"), (another_gland, "ihc")])
def test_masks_mark_what_was_changed(composite, name):
    picture, mask = composite()
    (photo,) = load_examples([name])
    changed = (picture != photo.pixels).any(dim=0)
    assert (mask[changed] == 1).all()
    assert changed.sum() > 0.9 * mask.sum() > 0 and mask.mean() < 0.15


def test_every_picture_is_drawn_from_a_run_that_is_trained():
    assert set(ROWS.values()) == set(RUNS)
    assert {row.__name__ for row in ROWS} >= {"sample", "retarget", "animate", "superres", "harmonize", "edit", "paint"}


def test_a_picture_becomes_a_jpeg(tmp_path):
    save_jpeg(temple(), tmp_path / "temple.jpg")
    assert (read_photo(tmp_path / "temple.jpg").pixels - temple()).abs().mean() < 0.05

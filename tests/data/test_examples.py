import pytest

from hyperconv.data import examples
from hyperconv.data.collection import Collection
from hyperconv.data.examples import HELD_OUT, example_names, load_examples
from hyperconv.data.pyramid import PyramidShape
from hyperconv.errors import InputError


def test_every_example_is_a_colour_photo_fit_for_training():
    photos = load_examples()
    assert [photo.name for photo in photos] == example_names() and len(photos) >= 9
    for photo in photos:
        assert photo.pixels.shape[0] == 3 and max(photo.pixels.shape[1:]) >= 250
        assert photo.pixels.abs().max() <= 1 and photo.pixels.std() > 0.1 and photo.notes == []
    collection = Collection([photos[0], photos[3]], PyramidShape())
    assert collection.sizes[-1].tolist() == [[167, 250], [166, 250]] and collection.notes == []


def test_held_out_examples_come_last():
    assert tuple(example_names()[-len(HELD_OUT) :]) == HELD_OUT


def test_examples_by_name():
    assert [photo.name for photo in load_examples(["coffee", "china"])] == ["coffee", "china"]
    with pytest.raises(InputError, match="no example photo 'lena': choose from china"):
        load_examples(["lena"])


def test_missing_packages_say_what_to_install(monkeypatch):
    monkeypatch.setattr(examples, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=r"pip install 'hyperconv\[examples\]'"):
        load_examples(["china"])

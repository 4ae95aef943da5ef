import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from hyperconv.data import canvas
from hyperconv.data.collection import Collection
from hyperconv.data.images import Photo, resize
from hyperconv.data.pyramid import PyramidShape, build_pyramid
from hyperconv.errors import InputError

SHAPE = PyramidShape(max_size=40, min_size=16, scale_count=3)
LANDSCAPE, PORTRAIT = (36, 48), (50, 30)


def photo(name, size, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Photo(name, torch.rand(channels, *size, generator=generator) * 2 - 1)


def collection_of(*sizes, channels=3):
    return Collection([photo(f"photo{i}", size, channels, i) for i, size in enumerate(sizes)], SHAPE)


def test_batches_hold_the_pyramids_of_the_photos():
    photos = [photo("a", LANDSCAPE, seed=1), photo("b", PORTRAIT, seed=2), photo("c", (44, 44), seed=3)]
    collection = Collection(photos, SHAPE)
    assert len(collection) == 3 and collection.names == ["a", "b", "c"] and collection.channels == 3
    for scale in range(3):
        images, sizes, indices = collection.batch([2, 0], scale)
        assert indices.tolist() == [2, 0] and torch.equal(sizes, collection.sizes[scale][[2, 0]])
        for image, index in zip(canvas.crop(images, sizes), (2, 0), strict=True):
            wanted = SHAPE.sizes(*photos[index].pixels.shape[1:])
            assert torch.equal(image, build_pyramid(photos[index].pixels, wanted)[scale])


def test_sizes_of_a_batch_at_every_scale():
    collection = collection_of(LANDSCAPE, PORTRAIT)
    assert [sizes.tolist() for sizes in collection.sizes_of([1, 1, 0])] == [
        sizes[[1, 1, 0]].tolist() for sizes in collection.sizes
    ]
    assert collection.sizes[-1].tolist() == [[30, 40], [40, 24]]


def test_grey_only_if_all_are_grey_or_asked():
    grey, colour = photo("grey", LANDSCAPE, 1), photo("colour", LANDSCAPE, 3)
    assert Collection([grey], SHAPE).channels == 1
    assert Collection([grey, colour], SHAPE).channels == 3
    assert Collection([grey, colour], SHAPE, channels=1).channels == 1
    images = Collection([grey, colour], SHAPE).batch([0], 1).images[0]
    assert torch.equal(images[0], images[2])


def test_remarks_name_the_photo():
    noted = Photo("noted", torch.zeros(3, 36, 48), None, ["alpha composited over white"])
    collection = Collection([noted, photo("small", (18, 24))], SHAPE)
    assert collection.notes == ["noted: alpha composited over white", "small: enlarged from 24x18 to 40x30"]


def test_unusable_photos_are_refused():
    with pytest.raises(InputError, match="tiny is too small: 12x15 pixels"):
        Collection([photo("fine", LANDSCAPE), photo("tiny", (15, 12))], SHAPE)
    with pytest.raises(InputError, match="at least one"):
        Collection([], SHAPE)


def test_embedding_inputs_are_the_squashed_photos():
    collection = collection_of(LANDSCAPE, PORTRAIT)
    inputs = collection.embedding_inputs([1, 0, 1], size=16)
    assert inputs.shape == (3, 3, 16, 16) and torch.equal(inputs[0], inputs[2])
    assert torch.equal(inputs[1], resize(collection.batch([0], 2).images[0], (16, 16)))
    assert collection.embedding_inputs([0]).shape == (1, 3, 128, 128)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 30), st.integers(0, 2**32))
def test_a_batch_is_of_different_photos_and_of_one_kind_where_possible(wide, upright, batch_size, seed):
    if wide + upright == 0:
        return
    collection = collection_of(*[LANDSCAPE] * wide, *[PORTRAIT] * upright)
    drawn = collection.draw(batch_size, torch.Generator().manual_seed(seed)).tolist()
    assert len(drawn) == len(set(drawn)) == min(batch_size, wide + upright)
    assert set(drawn) <= set(range(wide + upright))
    if batch_size >= wide + upright:
        assert drawn == list(range(wide + upright))
    else:
        wide_drawn = sum(index < wide for index in drawn)
        assert wide_drawn == min(batch_size, wide) or batch_size - wide_drawn == min(batch_size, upright)


@pytest.mark.parametrize("wide, upright, batch_size", [(8, 4, 2), (8, 4, 6), (5, 6, 8), (9, 0, 4), (1, 7, 7)])
def test_every_photo_is_equally_likely(wide, upright, batch_size):
    collection = collection_of(*[LANDSCAPE] * wide, *[PORTRAIT] * upright)
    generator, draws = torch.Generator().manual_seed(0), 4000
    drawn = torch.cat([collection.draw(batch_size, generator) for _ in range(draws)])
    share = drawn.bincount(minlength=len(collection)) / draws
    likely = batch_size / len(collection)
    assert (share - likely).abs().max() < 5 * (likely * (1 - likely) / draws) ** 0.5


def test_drawing_wastes_less_canvas_than_chance():
    collection = collection_of(*[LANDSCAPE] * 8, *[PORTRAIT] * 8)
    generator = torch.Generator().manual_seed(0)

    def used(indices):
        images, sizes, _ = collection.batch(indices, 2)
        return sizes.prod(1).sum() / (len(images) * images.shape[2] * images.shape[3])

    assert all(used(collection.draw(4, generator)) == 1 for _ in range(20))
    assert used([0, 1, 8, 9]) < 0.75


def test_drawing_repeats_with_its_generator():
    collection = collection_of(*[LANDSCAPE] * 5, *[PORTRAIT] * 5)
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    assert all(torch.equal(collection.draw(3, one), collection.draw(3, other)) for _ in range(5))


def test_a_saved_collection_comes_back_bit_for_bit(tmp_path):
    collection = collection_of(LANDSCAPE, PORTRAIT, (18, 24))
    collection.save(tmp_path / "photos.safetensors")
    again = Collection.load(tmp_path / "photos.safetensors")
    for name in ("names", "paths", "notes", "shape", "channels"):
        assert getattr(again, name) == getattr(collection, name)
    for scale in range(3):
        for ours, theirs in zip(collection.batch([0, 1, 2], scale), again.batch([0, 1, 2], scale), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(again.embedding_inputs([0, 1, 2]), collection.embedding_inputs([0, 1, 2]))


def test_photos_that_share_memory_or_names_can_be_saved(tmp_path):
    wide = torch.rand(3, 60, 60)[:, 10:40, 10:50]
    collection = Collection([Photo("a", wide), Photo("a", wide)], PyramidShape(40, 40, 2))
    collection.save(tmp_path / "photos.safetensors")
    again = Collection.load(tmp_path / "photos.safetensors")
    assert again.names == ["a", "a-2"] and torch.equal(again.batch([1], 1).images[0], wide)


def test_the_source_file_is_remembered(tmp_path):
    source = photo("sea", LANDSCAPE)
    source.path = tmp_path / "sea.png"
    Collection([source], SHAPE).save(tmp_path / "photos.safetensors")
    assert Collection.load(tmp_path / "photos.safetensors").paths == [str(tmp_path / "sea.png")]


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 0.999))
def test_truncated_files_are_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "photos.safetensors"
    collection_of(LANDSCAPE).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match="not a whole collection of photos"):
        Collection.load(path)


def test_foreign_and_absent_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="absent: no such file"):
        Collection.load(tmp_path / "absent")
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(InputError, match="written by something else"):
        Collection.load(tmp_path / "foreign")
    with pytest.raises(InputError, match="not a whole collection"):
        Collection.load(tmp_path)


def test_moving_to_the_device_it_is_on_changes_nothing():
    collection = collection_of(LANDSCAPE, PORTRAIT)
    before = collection.batch([0, 1], 2).images
    assert collection.to("cpu") is collection and collection.device == torch.device("cpu")
    assert torch.equal(collection.batch([0, 1], 2).images, before)

import pytest
import torch

from hyperconv.data.collection import WINDOW, Collection
from hyperconv.data.images import Photo, read_photo, save_png
from hyperconv.data.pyramid import PyramidShape
from hyperconv.data.pyramid_store import PhotoIntake, notes_of
from hyperconv.errors import InputError

SHAPE = PyramidShape(max_size=40, min_size=16, scale_count=3)
SIZES = ((36, 48), (50, 30), (18, 24), (44, 44))


def photo(number, size, channels=3):
    pixels = torch.rand(channels, *size, generator=torch.Generator().manual_seed(number)) * 2 - 1
    return Photo(f"photo{number}", pixels, None, ["a remark"] if number == 1 else [])


@pytest.fixture
def photos():
    """Four photos, one of them grey."""
    return [photo(number, size, 1 if number == 3 else 3) for number, size in enumerate(SIZES)]


def test_on_disk_in_memory_and_made_at_once_are_the_same(tmp_path, photos):
    at_once = Collection(photos, SHAPE)
    PhotoIntake(photos, SHAPE, square=24).save(tmp_path / "photos.safetensors")
    for on_disk in (False, True):
        collection = Collection.load(tmp_path / "photos.safetensors", on_disk)
        assert collection.on_disk == on_disk
        for name in ("names", "paths", "notes", "shape", "channels"):
            assert getattr(collection, name) == getattr(at_once, name), name
        chosen = torch.tensor([3, 0, 1])
        for scale in range(3):
            assert torch.equal(collection.sizes[scale], at_once.sizes[scale])
            for one, other in zip(collection.batch(chosen, scale), at_once.batch(chosen, scale)):
                assert torch.equal(one, other)
            extent = tuple(at_once.sizes[scale].amax(dim=0).tolist())
            assert torch.equal(collection.canvases(scale)(chosen, extent), at_once.canvases(scale)(chosen, extent))
        for size in (24, 17):  # stored, and not
            assert torch.equal(collection.embedding_inputs(chosen, size), at_once.embedding_inputs(chosen, size))


@pytest.mark.parametrize("coarsest", ["long side", "short side"])
@pytest.mark.parametrize(
    "size, told",
    [
        ((30, 1000), ["widened: 1000x30 is trained as 64x11"]),
        ((1000, 30), ["widened: 30x1000 is trained as 11x64"]),
        ((172, 1000), []),
        ((500, 500), []),
    ],
)
def test_a_photo_that_is_distorted_says_so(size, told, coarsest):
    assert notes_of(photo(0, size), PyramidShape(64, 11, 4, coarsest)) == told


def test_images_that_cannot_be_used_are_left_out(tmp_path, photos):
    save_png(photos[0].pixels, tmp_path / "good.png")
    save_png(photos[0].pixels[:, :12, :12], tmp_path / "small.png")
    (tmp_path / "text.png").write_text("no image")
    taken = []
    files = [tmp_path / name for name in ("small.png", "good.png", "text.png")]
    intake = PhotoIntake(files, SHAPE, on_photo=lambda done, of: taken.append((done, of)))
    intake.save(tmp_path / "photos.safetensors")
    collection = Collection.load(tmp_path / "photos.safetensors", on_disk=True)
    assert collection.names == ["good"] and collection.paths == [str(tmp_path / "good.png")]
    assert torch.equal(collection.batch([0], 2).images, Collection([read_photo(files[1])], SHAPE).batch([0], 2).images)
    assert [problem.split(" ")[0].rstrip(":") for problem in intake.problems] == [str(files[0]), str(files[2])]
    assert taken == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(InputError, match="too small.*and 1 more that cannot be used"):
        PhotoIntake([files[0], files[2]], SHAPE).save(tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()


def test_an_image_that_changed_on_disk_is_noticed_as_it_is_read(tmp_path, photos):
    path = tmp_path / "photos.safetensors"
    PhotoIntake(photos, SHAPE).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    with pytest.raises(InputError, match="photo3.scale2 has changed"):
        Collection.load(path)
    collection = Collection.load(path, on_disk=True)
    collection.batch([0, 1, 2], 2)
    with pytest.raises(InputError, match="photo3.scale2 has changed"):
        collection.batch([3], 2)


def test_batches_of_many_photos_are_of_like_shapes_and_every_photo_is_equally_likely():
    heights = [30 + number % 23 for number in range(60)]
    collection = Collection([photo(number, (height, 52)) for number, height in enumerate(heights)], SHAPE)
    assert WINDOW * 4 < len(collection)
    generator, draws = torch.Generator().manual_seed(0), 4000
    drawn = torch.stack([collection.draw(4, generator) for _ in range(draws)])
    assert all(len(set(batch)) == 4 for batch in drawn.tolist())
    share, likely = drawn.flatten().bincount(minlength=60) / draws, 4 / 60
    assert (share - likely).abs().max() < 5 * (likely * (1 - likely) / draws) ** 0.5
    sides = collection.sizes[-1][:, 0].float()
    spread = sides[drawn].std(dim=1).mean()
    assert spread < 0.6 * sides[torch.randint(60, (draws, 4), generator=generator)].std(dim=1).mean()

import gzip
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hyperconv.data.domain_files import CIFAR10, load_digits, read_domains, read_image, read_images, read_shots
from hyperconv.data.domains import Domains
from hyperconv.errors import InputError


def constant(*counts):
    """Domains 'a', 'b', ... whose images are all of the value 10, 20, ..."""
    return Domains(
        {chr(97 + i): torch.full((count, 1, 4, 4), 10 * (i + 1), dtype=torch.uint8) for i, count in enumerate(counts)}
    )


def values(images):
    return ((images[:, 0, 0, 0] + 1) * 12.75).round().long().tolist()


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.data())
def test_draws_are_of_the_domain_and_of_others(counts, data):
    domains, source = constant(*counts), torch.Generator().manual_seed(0)
    chosen = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=4))
    own = values(domains.draw(torch.tensor(chosen), 3, source))
    others = values(domains.draw_others(torch.tensor(chosen), 8, source))
    assert own == [task + 1 for task in chosen for _ in range(3)]
    expected = [task + 1 for task in chosen for _ in range(8)]
    assert all(value != task and 1 <= value <= len(counts) for value, task in zip(others, expected))


def test_other_images_are_equally_likely():
    drawn = values(constant(2, 1, 4, 3).draw_others(torch.tensor([2]), 6000, torch.Generator().manual_seed(0)))
    shares = [drawn.count(value) / 6000 for value in (1, 2, 3, 4)]
    assert shares == pytest.approx([2 / 6, 1 / 6, 0, 3 / 6], abs=0.03)


def test_a_file_holds_everything(tmp_path):
    domains = constant(2, 3)
    domains.save(tmp_path / "domains.safetensors")
    again = Domains.load(tmp_path / "domains.safetensors")
    assert again.names == ["a", "b"] and torch.equal(again.images("b"), domains.images("b")) and not again.inverted
    whole = (tmp_path / "domains.safetensors").read_bytes()
    (tmp_path / "domains.safetensors").write_bytes(whole[:-3])
    with pytest.raises(InputError, match="train again"):
        Domains.load(tmp_path / "domains.safetensors")


def test_with_and_without():
    domains = constant(2, 3, 1)
    kept, held_out = domains.without(["b"])
    assert kept.names == ["a", "c"] and values(held_out["b"]) == [2] * 3
    more = kept.with_domain("z", held_out["b"])
    assert more.names == ["a", "c", "z"] and values(more.images("z")) == [2] * 3 and kept.names == ["a", "c"]
    with pytest.raises(InputError, match="'x'.*a, b, c"):
        domains.without(["x"])
    with pytest.raises(InputError, match="only domain"):
        constant(2).draw_others(torch.tensor([0]), 1, torch.Generator())
    with pytest.raises(InputError, match="no images"):
        constant(2, 0)


def test_digits():
    digits = load_digits(16)
    assert digits.names == list("0123456789") and len(digits.pixels) == 1797 and digits.pixels.shape[1:] == (1, 16, 16)
    assert digits.images("1").mean(0)[0, 4:12, 7:9].mean() > 0.5 > digits.images("0").mean(0)[0, 6:10, 7:9].mean()


@pytest.fixture
def folder(tmp_path):
    """cats: grey and RGB; dogs/small: two."""
    for name, mode in (
        ("cats/1.png", "L"),
        ("cats/2.png", "RGB"),
        ("dogs/small/1.jpg", "L"),
        ("dogs/small/2.png", "L"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (9, 7), 51 if mode == "L" else (51, 51, 51)).save(tmp_path / name)
    return tmp_path


def test_folders(folder):
    (folder / "cats" / "broken.png").write_text("no image")
    (folder / "top.png").write_bytes((folder / "cats" / "1.png").read_bytes())
    domains, remarks = read_domains(folder, 8)
    assert domains.names == ["cats", "dogs/small"] and domains.counts.tolist() == [2, 2]
    assert domains.pixels.shape == (4, 3, 8, 8) and (domains.pixels == 51).all() and not domains.inverted
    assert len(remarks) == 1 and "broken.png" in remarks[0]
    with pytest.raises(InputError, match="0 sub-folders"):
        read_domains(folder / "cats", 8)
    with pytest.raises(InputError, match="absent"):
        read_domains(folder / "absent", 8)
    with pytest.raises(InputError, match="is a file"):
        read_domains(folder / "top.png", 8)


def test_omniglot_is_inverted(tmp_path):
    for name in ("Greek/character01", "Greek/character02"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("1", (105, 105), 1).save(tmp_path / name / "0001_01.png")
    domains, _ = read_domains(tmp_path, 32)
    assert domains.names == ["Greek/character01", "Greek/character02"] and (domains.pixels == 0).all()
    assert read_shots(tmp_path / "Greek" / "character01", 1, domains).max() < -0.999


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_mnist(tmp_path, packed):
    labels = np.array([3, 1, 3], np.uint8)
    images = np.arange(3 * 28 * 28, dtype=np.uint32).reshape(3, 28, 28).astype(np.uint8)
    pack, ending = (gzip.compress, ".gz") if packed else (bytes, "")
    (tmp_path / f"train-images-idx3-ubyte{ending}").write_bytes(pack(idx(images)))
    with pytest.raises(InputError, match="train-labels"):
        read_domains(tmp_path, 28)
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)))
    domains, _ = read_domains(tmp_path, 28)
    assert domains.names == ["1", "3"] and torch.equal(domains.pixels[:, 0], torch.from_numpy(images[[1, 0, 2]]))
    assert read_domains(tmp_path, 32)[0].size == 32
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)[:-1]))
    with pytest.raises(InputError, match="damaged"):
        read_domains(tmp_path, 28)
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(pack(idx(images)))
    with pytest.raises(InputError, match="not an idx file of labels"):
        read_domains(tmp_path, 28)


def test_cifar10(tmp_path):
    records = np.random.default_rng(0).integers(0, 256, (4, 3073), dtype=np.uint8)
    records[:, 0] = [9, 0, 9, 5]
    records[:2].tofile(tmp_path / "data_batch_1.bin")
    records[2:].tofile(tmp_path / "data_batch_2.bin")
    domains, _ = read_domains(tmp_path, 32)
    assert domains.names == [CIFAR10[0], CIFAR10[5], CIFAR10[9]]
    assert torch.equal(domains.pixels, torch.from_numpy(records[[1, 3, 0, 2], 1:].reshape(4, 3, 32, 32)))
    (tmp_path / "data_batch_2.bin").write_bytes(b"short")
    with pytest.raises(InputError, match="data_batch_2.bin: damaged"):
        read_domains(tmp_path, 32)


def test_pickles_are_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02")
    with pytest.raises(InputError, match="binary version"):
        read_domains(tmp_path, 32)


def test_exactly_k_shots(folder):
    domains, _ = read_domains(folder, 8)
    assert read_shots(folder / "cats", 1, domains).shape == (1, 3, 8, 8)
    with pytest.raises(InputError, match="holds 2 images and -k asks for 3"):
        read_shots(folder / "cats", 3, domains)


def test_images_of_a_folder_are_cropped_to_their_middle(tmp_path):
    (tmp_path / "pictures" / "deep" / "er").mkdir(parents=True)
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    Image.fromarray(wide).save(tmp_path / "pictures" / "a.png")
    Image.fromarray(wide.transpose(1, 0, 2).copy()).save(tmp_path / "pictures" / "deep" / "er" / "b.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"nothing")
    domains, problems = read_images(tmp_path / "pictures", 8)
    assert domains.names == ["pictures", "deep/er"] and domains.channels == 3 and len(problems) == 1
    assert (domains.pixels == 200).all()
    grey, _ = read_images(tmp_path / "pictures", 8, channels=1)
    assert grey.channels == 1 and (grey.pixels == 200).all()
    square = read_image(tmp_path / "pictures" / "a.png", domains)
    assert torch.equal(square, domains.images("pictures")[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        read_images(tmp_path / "empty", 8)


def test_channels_of_domains():
    grey = constant(2, 1)
    coloured = grey.with_channels(3)
    assert coloured.channels == 3 and coloured.names == grey.names and torch.equal(coloured.pixels[:, :1], grey.pixels)
    assert torch.equal(coloured.with_channels(1).pixels, grey.pixels) and grey.with_channels(1) is grey
    assert values(grey.at(torch.tensor([2, 0]))) == [2, 1]

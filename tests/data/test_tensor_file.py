import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hyperconv.data.tensor_file import Damaged, TensorFile, write_tensors, writing

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
shapes = st.lists(st.integers(0, 4), max_size=3)
tables = st.dictionaries(
    st.text(min_size=1, max_size=9), st.tuples(shapes, st.sampled_from(DTYPES)), min_size=1, max_size=5
)
TABLE = {"b": torch.arange(12.0).view(3, 4), "a": torch.ones(12).view(3, 4), "step": torch.tensor(7)}


def same(one, other):
    return one.dtype == other.dtype and torch.equal(one, other)


@settings(deadline=None, max_examples=60)
@given(tables, st.dictionaries(st.text(max_size=9), st.text(max_size=40), max_size=3))
def test_what_is_written_comes_back_here_and_in_safetensors(tmp_path_factory, table, about):
    about = {f"about {name}": value for name, value in about.items()}
    path = tmp_path_factory.mktemp("table") / "table.safetensors"
    tensors = {name: torch.randn(shape).mul(3).to(dtype) for name, (shape, dtype) in table.items()}
    write_tensors(path, tensors, about)
    file = TensorFile(path)
    assert file.about == about and file.names == set(tensors)
    assert all(same(file.tensor(name), tensor) and file.shape(name) == tensor.shape for name, tensor in tensors.items())
    assert all(same(load_file(path)[name], tensor) for name, tensor in tensors.items())


def read_everything(path):
    file = TensorFile(path)
    return {name: file.tensor(name) for name in file.names}, file.about


def test_every_flipped_bit_is_noticed(tmp_path):
    """All bits of a small file, one after another: an error, or what was written (a space of the header's filling)."""
    path, bad = tmp_path / "whole", tmp_path / "bad"
    write_tensors(path, TABLE, {"scale": "1", "step": "20"})
    content = path.read_bytes()
    noticed = 0
    chance = random.Random(0)
    for place in sorted(chance.sample(range(len(content)), 400)) + list(range(len(content) - 110, len(content))):
        for bit in chance.sample(range(8), 2):
            bad.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
            try:
                tensors, about = read_everything(bad)
            except Damaged:
                noticed += 1
            else:
                assert about == {"scale": "1", "step": "20"}
                assert tensors.keys() == TABLE.keys() and all(
                    same(value, TABLE[name]) for name, value in tensors.items()
                )
    assert noticed > 900


def test_truncated_and_swapped_files_are_noticed(tmp_path):
    path, bad = tmp_path / "whole", tmp_path / "bad"
    write_tensors(path, TABLE, {})
    content = path.read_bytes()
    for length in [0, 3, 8, 100, len(content) // 2, len(content) - 1]:
        bad.write_bytes(content[:length])
        with pytest.raises(Damaged):
            read_everything(bad)
    one, other = (TABLE[name].numpy().tobytes() for name in ("a", "b"))
    bad.write_bytes(content.replace(one, b"?" * 48).replace(other, one).replace(b"?" * 48, other))
    with pytest.raises(Damaged, match="has changed since it was written"):
        read_everything(bad)


def test_files_without_checksums_are_read_as_they_are(tmp_path):
    save_file(TABLE, tmp_path / "foreign", {"scale": "1"})
    tensors, about = read_everything(tmp_path / "foreign")
    assert about == {"scale": "1"} and all(same(value, TABLE[name]) for name, value in tensors.items())
    with pytest.raises(FileNotFoundError):
        TensorFile(tmp_path / "absent")
    with pytest.raises(KeyError):
        TensorFile(tmp_path / "foreign").tensor("c")


def test_a_header_that_has_no_room_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="were kept for it"), writing(tmp_path / "file", [], 0) as writer:
        for number in range(20):
            writer.add(f"tensor {number}", torch.ones(2))
        writer.finish({})
    assert list(tmp_path.iterdir()) == []

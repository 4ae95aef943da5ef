"""Named tensors in a file that notices every change: safetensors with checksums, a tensor at a time in memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hyperconv.files import replacing

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ENTRY = 250  # bytes of the header that a tensor takes, its name aside


class Damaged(ValueError):
    """A file of tensors that is not as it was written, or was never one."""


class TensorWriter:
    """Writes tensors behind `room` bytes kept for the header, which comes last."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self.file, self.room, self.end = file, -(-room // 8) * 8, 0
        self.entries: dict[str, dict] = {}
        self.checksums: dict[str, int] = {}
        file.seek(8 + self.room)

    def add(self, name: str, tensor: Tensor) -> None:
        tensor = tensor.detach().cpu().contiguous()
        data = _bytes(tensor)
        self.file.write(data)
        offsets = [self.end, self.end + len(data)]
        self.entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        self.checksums[name] = _checksum(name, tensor)
        self.end += len(data)

    def finish(self, about: Mapping[str, str]) -> None:
        """Write the header, with `about` in it. ValueError where it takes more than the room there is."""
        metadata = {**about, "tensors": json.dumps(self.checksums)}
        metadata["checksum"] = str(_checksum_of_metadata(metadata))
        header = json.dumps({"__metadata__": metadata, **self.entries}).encode()
        if len(header) > self.room:
            raise ValueError(f"the header takes {len(header)} bytes, and {self.room} were kept for it")
        self.file.seek(0)
        self.file.write(self.room.to_bytes(8, "little") + header.ljust(self.room))


@contextmanager
def writing(path: str | PathLike, names: Iterable[str], about_bytes: int) -> Iterator[TensorWriter]:
    """A TensorWriter for at most these names and so much text about them; the file is complete or not there at all."""
    room = 1000 + 3 * about_bytes + sum(ENTRY + 3 * len(json.dumps(name)) for name in names)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        yield TensorWriter(file, room)


def write_tensors(path: str | PathLike, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write them as a whole; read them with TensorFile."""
    with writing(path, tensors, len(json.dumps(dict(about)))) as writer:
        for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):  # each where it is aligned
            writer.add(name, tensors[name])
        writer.finish(about)


class TensorFile:
    """Such a file, open: `about`, `names`, and tensors read when asked for.

    FileNotFoundError, or Damaged where the file, or the tensor asked for, is not what was written. Files without
    checksums, written by other programs or earlier versions, are read as they are.
    """

    def __init__(self, path: str | PathLike) -> None:
        self.path = Path(path)
        try:
            self.file = safe_open(self.path, "pt")
            metadata = dict(self.file.metadata() or {})
            self.names = set(self.file.keys())
        except (SafetensorError, OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise Damaged(" ".join(str(error).split())) from None
        self.checksums = None
        if "checksum" in metadata or "tensors" in metadata:
            self.checksums = self._check(metadata)
        self.about: dict[str, str] = metadata

    def _check(self, metadata: dict[str, str]) -> dict[str, int]:
        if metadata.pop("checksum", None) != str(_checksum_of_metadata(metadata)):
            raise Damaged("its header has changed since it was written")
        checksums = json.loads(metadata.pop("tensors"))
        if set(checksums) != self.names:
            raise Damaged("its tensors are not those that were written")
        return checksums

    def shape(self, name: str) -> tuple[int, ...]:
        """KeyError where there is no such tensor."""
        self._find(name)
        return tuple(self.file.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """KeyError where there is no such tensor."""
        self._find(name)
        try:
            tensor = self.file.get_tensor(name)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise Damaged(" ".join(str(error).split())) from None
        if self.checksums is not None and _checksum(name, tensor) != self.checksums[name]:
            raise Damaged(f"{name} has changed since it was written")
        return tensor

    def _find(self, name: str) -> None:
        if name not in self.names:
            raise KeyError(name)


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def _checksum(name: str, tensor: Tensor) -> int:
    """Of the numbers, and of what they are and are called."""
    return zlib.crc32(_bytes(tensor), zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode()))


def _checksum_of_metadata(metadata: Mapping[str, str]) -> int:
    return zlib.crc32(json.dumps(metadata, sort_keys=True).encode())

"""The operators of csrc/cuda on CPU tensors, as torch.ops.hyperconv_host."""

import contextlib
import ctypes
import os
from pathlib import Path

import torch
from host_library import CHOICE, HostLibrary, build
from setup_script import script

from hyperconv.ops import schema

SOURCE = Path(__file__).with_name("cuda_operators_on_cpu.cpp")


class Operators:
    """The six operators as functions, and `forced`; an error of a launch raises."""

    layout = staticmethod(schema.layout)

    def __init__(self, path: Path):
        self._definitions = torch.library.Library("hyperconv_host", "DEF")
        for name, declaration in schema.SCHEMAS.items():
            self._definitions.define(name + declaration)
        torch.ops.load_library(str(path))
        self._library = HostLibrary(str(path))

    def __getattr__(self, name):
        operator = getattr(torch.ops.hyperconv_host, name).default

        def run(*arguments):
            output = operator(*arguments)
            self._library.quotient(0, 1)  # raises the error of the launches before it
            return output

        return run

    def quotient(self, number: int, divisor: int) -> int:
        self._library.quotient.restype = ctypes.c_uint32
        return self._library.quotient(ctypes.c_uint32(number), ctypes.c_uint32(divisor))

    @contextlib.contextmanager
    def forced(self, gather=False, wide=False, shape=-1, parts=0, shared_limit=0, blocks_wanted=0, tf32=False):
        """Inside, the choices of csrc/cuda/forced.h; float32 products in TF32 only with `tf32`."""
        self._library.hyperconv_cuda_allow_tf32(tf32)
        self._library.force(gather, wide, shape, parts, shared_limit, blocks_wanted)
        try:
            yield
        finally:
            self._library.hyperconv_cuda_allow_tf32(0)
            self._library.force(0, 0, -1, 0, 0, 0)


def load(tmp_path_factory) -> Operators:
    """Compiled for the sanitizer that this process was started for, if any."""
    torch_folder = script.find_torch()
    flags = [*script.CODE_FLAGS[1:], *script.torch_headers(torch_folder), *script.torch_libraries(torch_folder)]
    folder = tmp_path_factory.mktemp("cuda_operators")
    return Operators(build(SOURCE, folder, os.environ.get(CHOICE, ""), flags))

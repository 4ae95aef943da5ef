"""Compiles CUDA sources with the C++ compiler over tests/cuda_host, so that their kernels run on the CPU.

With a sanitizer the library only loads into a process that `sanitized_environment` was given to.
"""

import ctypes
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from setup_script import ROOT, script

LAYER = ROOT / "tests" / "cuda_host"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
FLAGS = ["-std=c++17", "-shared", "-fPIC", "-fno-gnu-unique"]
UNSET_LOCALS_SHOW = ["-ftrivial-auto-var-init=pattern"]
SANITIZERS = {
    "": ["-O2"],
    "address": ["-O1", "-g1", "-fsanitize=address,alignment,bounds", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g1", "-fsanitize=thread"],
}
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}
CHOICE = "HYPERCONV_HOST_SANITIZER"
NO_LEAKS = "detect_leaks=0"


class HostLibrary(ctypes.CDLL):
    """Raises RuntimeError where a launch ended with an error, such as a deadlock."""

    def __getitem__(self, name):
        function = super().__getitem__(name)
        if name == "cuda_host_error":
            function.restype = ctypes.c_char_p
        else:
            function.errcheck = self._check
        return function

    def _check(self, result, function, arguments):
        error = self.cuda_host_error()
        if error is not None:
            raise RuntimeError(error.decode())
        return result


def build(source: Path, folder: Path, sanitizer: str = "", flags: tuple | list = ()) -> Path:
    target = folder / f"{source.stem}{sanitizer}.so"
    includes = [f"-I{LAYER}", f"-I{ROOT / 'csrc' / 'cuda'}"]
    command = [*script.find_compiler(), *FLAGS, *WARNINGS, *UNSET_LOCALS_SHOW, *SANITIZERS[sanitizer]]
    command += [*includes, *map(str, flags), "-x", "c++", str(source), "-o", str(target)]
    if sanitizer and not is_sanitized():
        runtime_or_skip(sanitizer)
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    finished = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    return target


def build_and_load(source: Path, folder: Path) -> HostLibrary:
    """With the sanitizer that this process was started for, if any."""
    return HostLibrary(str(build(source, folder, os.environ.get(CHOICE, ""))))


@functools.cache
def runtime_or_skip(sanitizer: str) -> str:
    """The library that a sanitized process begins with; where there is none, or it does not start, a skip."""
    name = RUNTIMES[sanitizer]
    path = script.output_of(*script.find_compiler(), f"-print-file-name={name}")
    if not Path(path).is_absolute():
        pytest.skip(f"the C++ compiler has no {name}")
    command, environment = [sys.executable, "-c", ""], os.environ | {"LD_PRELOAD": path, "ASAN_OPTIONS": NO_LEAKS}
    finished = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if finished.returncode:
        pytest.skip(f"{name} does not start here: {finished.stderr[:200]}")
    return path


def sanitized_environment(sanitizer: str) -> dict[str, str]:
    """The environment of a Python process that loads sanitized libraries."""
    runtime = runtime_or_skip(sanitizer)
    options = {"ASAN_OPTIONS": NO_LEAKS, "TSAN_OPTIONS": "halt_on_error=1"}
    options |= {"PYTHONMALLOC": "malloc", "OMP_NUM_THREADS": "1"}
    return os.environ | options | {"LD_PRELOAD": runtime, CHOICE: sanitizer}


def is_sanitized() -> bool:
    return CHOICE in os.environ


def run_again(test_file: str, sanitizer: str, expression: str) -> None:
    """Run the tests of a file that match the expression once more, in a process with the sanitizer."""
    command = [sys.executable, "-m", "pytest", "-qxs", "-k", expression, test_file]
    environment = sanitized_environment(sanitizer)
    finished = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[:8000]

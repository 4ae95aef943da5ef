"""hyperconv.heap, each time in a process of its own: what malloc is told cannot be taken back."""

import os
import platform
import subprocess
import sys

import pytest

from hyperconv.cli.main import main
from hyperconv.heap import OF_THE_USER

PROGRAM = """
import ctypes, resource, torch
from hyperconv.heap import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def allocate():
    kept = [torch.ones(10 << 20) for _ in range(3)]  # 40 MB each: more than malloc keeps by itself

told = {call}
for _ in range(3):
    allocate()
rounds = []
for _ in range(5):
    before = faults()
    allocate()
    rounds.append(faults() - before)
print(told, min(rounds))  # the least: a busy system takes pages back at times
"""


def answer(call: str, **environment: str) -> tuple[str, int]:
    """What `call` returned, and the pages that the system cleared for the tensors of a round after it."""
    clean = {name: value for name, value in os.environ.items() if name not in OF_THE_USER}
    command = [sys.executable, "-c", PROGRAM.format(call=call)]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    told, faults = done.stdout.split()
    return told, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc here")
def test_memory_of_freed_tensors_is_kept():
    _, by_default = answer("None")
    told, kept = answer("keep_freed_memory()")
    assert told == "True"
    assert by_default > 1000 and kept < by_default / 20


@pytest.mark.parametrize("name", OF_THE_USER)
def test_what_the_user_set_stays(name):
    value = "glibc.malloc.check=0" if name == "GLIBC_TUNABLES" else "1000000"
    assert answer("keep_freed_memory()", **{name: value})[0] == "False"


def test_without_mallopt_nothing_is_done():
    call = "(setattr(ctypes, 'CDLL', lambda name: object()), keep_freed_memory())[1]"
    assert answer(call)[0] == "False"


def test_training_keeps_it(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr("hyperconv.cli.training.keep_freed_memory", lambda: kept.append(True))
    with pytest.raises(SystemExit) as left:
        main(
            [
                "train",
                "--examples",
                "--out",
                str(tmp_path / "run"),
                "--preset",
                "tiny",
                "--max-size",
                "24",
                "--scale-count",
                "1",
                "--iterations",
                "1",
            ]
        )
    assert left.value.code == 0 and kept == [True]

"""Choices of tiles, compiled ahead of time for GPUs that are not here: each compiles, fits, and spills next to nothing.

Compiling happens in a process of its own, as Triton either interprets or compiles for all of a process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from hyperconv.kernels import ahead

COMPILE = """
import dataclasses, json, math, sys
from hyperconv.kernels import ahead

def kind(label, launch):
    arithmetic, _, _, layout, _ = label.split()
    kernel, packed, *_ = ahead.configuration(launch, None)
    return arithmetic, layout, kernel, packed

capability, layouts = sys.argv[1], sys.argv[2].split()
launches = list(ahead.each(capability, distinct=ahead.configuration))
if layouts:
    launches = [one for one in launches if kind(*one[:2])[1] in layouts]
    launches.sort(key=lambda one: math.prod(ahead.tile(one[1])) * one[1].stages)
    launches = {kind(*one[:2]): one for one in launches}.values()
for label, *launch in launches:
    one = ahead.tried(capability, *launch)
    print(json.dumps([label, str(one) if isinstance(one, Exception) else dataclasses.asdict(one)]))
"""
FEW_BYTES = 32
"""Of a register or two, which a version of Triton or another keeps in memory around a loop."""
LARGEST = {"8.0": "nchw", "9.0": "nhwc", "10.0": "nchw nhwc"}


def compiled(capability: str, cache: Path, layouts: str) -> dict[str, dict]:
    """{label: resources} of the largest tiles in these memory formats, or of all tiles where none is named.

    By one process, whose cache of kernels starts empty.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    process = subprocess.run(
        [sys.executable, "-c", COMPILE, capability, layouts],
        check=False,
        capture_output=True,
        text=True,
        env={**environment, "TRITON_CACHE_DIR": str(cache)},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return dict(json.loads(line) for line in process.stdout.splitlines())


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("capability", ahead.SHARED)
def test_the_largest_tiles_compile_without_spills(tmp_path, capability):
    """Of each kernel in each arithmetic."""
    check(capability, compiled(capability, tmp_path, LARGEST[capability]))


@pytest.mark.whole
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("capability", ahead.SHARED)
def test_every_choice_of_tiles_compiles_without_spills(tmp_path, capability):
    check(capability, compiled(capability, tmp_path, ""))


EXTREMES = """
from hyperconv.kernels import ahead
for arithmetic, layer in (("float32", ahead.Conv(64, 64)), ("bfloat16", ahead.Conv(64, 3)), ("float64", ahead.Conv(1, 1))):
    for side in (1, 5900):
        for operator, *launch in ahead.launches("9.0", arithmetic, layer, side, "nchw"):
            print(arithmetic, layer, side, operator, ahead.tried("9.0", *launch))
"""


def test_images_of_one_pixel_and_beyond_32_bits_compile(tmp_path):
    """Triton makes an argument that is 1 part of the program, in tuples too: it is no tensor there. Of 64 channels of 5900
    pixels a side, offsets are 64 bits wide, in loops too."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    process = subprocess.run(
        [sys.executable, "-c", EXTREMES],
        check=False,
        capture_output=True,
        text=True,
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert len(lines) >= 30 and all("Resources(" in line for line in lines), process.stdout


def check(capability: str, kernels: dict[str, dict]) -> None:
    assert {label.split()[0] for label in kernels} == set(ahead.ARITHMETICS)
    failed = {label: one for label, one in kernels.items() if isinstance(one, str)}
    assert not failed
    spilled = {label: one["spilled"] for label, one in kernels.items() if one["spilled"] > FEW_BYTES}
    assert not spilled
    too_large = {
        label: one["shared"] for label, one in kernels.items() if one["shared"] > ahead.SHARED[capability] * 1024
    }
    assert not too_large
    on_matrix_units = {
        label: one
        for label, one in kernels.items()
        if one["kernel"] in ("correlate", "accumulate") and min(one["tile"]) >= 8 and label.split()[0] != "float32"
    }
    assert {one["kernel"] for one in on_matrix_units.values()} == {"correlate", "accumulate"}
    own = {"8.0": "mma", "9.0": "wgmma", "10.0": "tcgen05"}[capability]
    for label, one in on_matrix_units.items():
        units = {instruction.split()[0] for instruction in one["matrix"]}
        assert units and units <= {"mma", own}, label
    assert any(one["matrix"][0].startswith(own) for one in on_matrix_units.values())


def test_a_plan_is_made_for_the_gpu_it_is_rehearsed_for():
    layer = ahead.Conv(64, 64)
    programs = {
        capability: next(
            launch.programs
            for operator, launch, _ in ahead.launches(capability, "bfloat16", layer, 128, "nhwc")
            if operator == "parameters" and launch.kernel.__name__ == "accumulate"
        )
        for capability in ahead.SHARED
    }
    assert programs["8.0"] <= programs["9.0"] < programs["10.0"]


def test_spilled_bytes_are_counted_by_width():
    code = "STL [R1+0x4], R7 ;\n STL.64 [R1], R5 ;\n LDL.LU R3, [R1+0x4] ;\n LDL.LU.128 R8, [R1] ; LDG.E R1"
    assert ahead._spilled(code) == 4 + 8 + 4 + 16
    assert ahead._spilled("FFMA R1, R2, R3, R4 ; LDGSTS.E [R1], [R2]") == 0


def test_the_command_names_what_it_compiled():
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "hyperconv.kernels.ahead"]
    options = ["--capability", "9.0", "--arithmetic", "float64", "--layer", "64-1", "--tiles-once"]
    process = subprocess.run([*command, *options], check=False, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "correlate_thin" in process.stdout and "0 kernels do not compile" in process.stdout
    interpreted = {**environment, "TRITON_INTERPRET": "1"}
    process = subprocess.run([*command, *options], check=False, capture_output=True, text=True, env=interpreted)
    assert process.returncode == 2 and "TRITON_INTERPRET" in process.stderr

"""A wheel holds everything, and an installation without a compiler works and says what is missing."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("csrc", "hyperconv", "kernels", "setup.py", "pyproject.toml", "README.md", "LICENSE")
PIP_OPTIONS = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
NO_COMPILER = {"HYPERCONV_CUDA": "0", "CXX": "/nonexistent/g++"}
CONVOLVE = """
import json, sys, torch, hyperconv, hyperconv.kernels
sets = torch.randn(2, 4, 3, 3, 3)
output = hyperconv.hyper_conv2d(torch.ones(4, 3, 8, 8), sets, padding=1)
expected = torch.cat([torch.conv2d(torch.ones(2, 3, 8, 8), one, padding=1) for one in sets])
torch.testing.assert_close(output, expected)
print(json.dumps([hyperconv.__file__, hyperconv.kernels.__file__, hyperconv.backends()["native"]["cpu"]]))
"""


def copy_sources(folder):
    """The sources alone, as a fresh clone has them."""
    without = shutil.ignore_patterns("__pycache__", "_native")
    for name in SOURCES:
        copy = shutil.copy2 if (ROOT / name).is_file() else shutil.copytree
        copy(ROOT / name, folder / name, **({} if copy is shutil.copy2 else {"ignore": without}))
    return folder


def run(*command, folder, environment=None):
    """Run a command with a clean environment and `environment` on top; its result, whatever its exit code."""
    ours = ("HYPERCONV_", "PYTHON", "CXX")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    settings = {"cwd": folder, "env": inherited | (environment or {})}
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, **settings)


def pip(*arguments, folder, environment):
    result = run(sys.executable, "-m", "pip", *arguments, folder=folder, environment=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def convolve(folder):
    """[file of hyperconv, file of hyperconv.kernels, why not native] of the package in `folder`."""
    result = run(sys.executable, "-c", CONVOLVE, folder="/", environment={"PYTHONPATH": str(folder)})
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++: nothing to build")
def test_wheel_holds_the_kernels_and_the_libraries(tmp_path):
    source = copy_sources(tmp_path)
    if (ROOT / "build" / "native").exists():  # ninja then compiles only what changed since
        shutil.copytree(ROOT / "build" / "native", source / "build" / "native")
    pip("wheel", *PIP_OPTIONS, "-w", "dist", ".", folder=source, environment={"HYPERCONV_CUDA": "0"})
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    python = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hyperconv").rglob("*.py")}
    assert {*python, "hyperconv/kernels/__init__.py", "hyperconv/_native/hyperconv_cpu.so"} <= names
    assert "hyperconv/_native/hyperconv_cuda.so" not in names, "HYPERCONV_CUDA=0 builds none"
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hyperconv"}
    hyperconv, kernels, reason = convolve(tmp_path / "installed")
    assert Path(hyperconv).parent == Path(kernels).parents[1] == tmp_path / "installed" / "hyperconv"
    assert reason is None


def test_installation_without_a_compiler_runs_on_the_reference(tmp_path):
    (tmp_path / "source").mkdir()
    source, target = copy_sources(tmp_path / "source"), tmp_path / "installed"
    command = ("install", "-v", *PIP_OPTIONS, "--target", target, ".")
    output = pip(*command, folder=source, environment=NO_COMPILER)
    assert len([line for line in output.splitlines() if "hyperconv: not built" in line]) == 1
    hyperconv, _, reason = convolve(target)
    assert Path(hyperconv).parent == target / "hyperconv"
    assert reason == "not built: C++ compiler /nonexistent/g++ not found"


def test_source_tree_runs_without_an_installation(tmp_path):
    hyperconv, kernels, reason = convolve(copy_sources(tmp_path))
    assert Path(hyperconv).parent == tmp_path / "hyperconv"
    assert Path(kernels).parent == tmp_path / "kernels"
    assert "hyperconv_cpu.so does not exist" in reason


def test_failed_compilation_names_its_log(tmp_path):
    source = copy_sources(tmp_path)
    environment = {"HYPERCONV_CUDA": "0", "CXX": shutil.which("false")}
    result = run(sys.executable, "setup.py", "build_ext", "--inplace", folder=source, environment=environment)
    log = source / "build" / "native" / "cpu.log"
    assert result.returncode == 0
    assert f"hyperconv: not built: cpu (the compiler failed, see {log})" in result.stderr
    assert "FAILED" in log.read_text()


def test_cuda_library_that_was_asked_for_and_cannot_be_built_is_an_error(tmp_path):
    source = copy_sources(tmp_path)
    environment = NO_COMPILER | {"HYPERCONV_CUDA": "1"}
    result = run(sys.executable, "setup.py", "build_ext", "--inplace", folder=source, environment=environment)
    assert result.returncode != 0
    assert "HYPERCONV_CUDA=1 asks for a CUDA library" in result.stderr

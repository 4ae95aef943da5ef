"""The loader tells libraries apart that are absent, broken or mismatched; setup.py reads its settings."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from setup_script import script

from hyperconv.ops import native
from hyperconv.ops.schema import OPERATIONS
from hyperconv.version import __version__


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in the place of hyperconv/_native."""
    monkeypatch.setattr(native, "DIRECTORY", tmp_path)
    return tmp_path


def status(device_type):
    """The loader's answer, not the one it remembers of the real library."""
    return native.status.__wrapped__(device_type)


def record(folder, **changes):
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.so")}
    whole = {
        "version": __version__,
        "torch_target": "2.10",
        "cuda_version": "12.8",
        "cuda_architectures": ["8.0", "9.0+PTX"],
        "failures": {},
        "sizes": sizes,
    }
    (folder / "build.json").write_text(json.dumps(whole | changes))


def test_not_built_gives_the_reason_of_the_build(folder):
    record(folder, failures={"cpu": "C++ compiler g++ not found"})
    assert status("cpu") == "not built: C++ compiler g++ not found"


def test_never_built_says_what_is_missing(folder):
    assert f"{folder / 'hyperconv_cpu.so'} does not exist" in status("cpu")


def test_other_devices_have_no_native_kernels():
    assert native.status("mps") == "there are no native kernels for mps devices"


def test_library_that_does_not_load_is_broken(folder):
    (folder / "hyperconv_cpu.so").write_bytes(b"no library" * 100)
    record(folder)
    assert status("cpu").startswith("broken: ")
    assert "invalid ELF header" in status("cpu")


def test_library_without_its_end_is_broken(folder):
    """Loading it would end the process with a bus error."""
    built = Path(native.__file__).parents[1] / "_native" / "hyperconv_cpu.so"
    content = built.read_bytes() if built.exists() else b"no library" * 100
    library = folder / "hyperconv_cpu.so"
    library.write_bytes(content)
    record(folder)
    library.write_bytes(content[: len(content) // 2])
    assert f"has {len(content) // 2} bytes, and {len(content)} were installed" in status("cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "0.0.1"}, ["built for hyperconv 0.0.1", f"this is {__version__}"]),
        ({"torch_target": "9.9"}, ["built for torch 9.9 or later", torch.__version__]),
    ],
)
def test_mismatched_library_is_not_loaded(folder, changes, words):
    (folder / "hyperconv_cpu.so").write_bytes(b"loading this would be another error")
    record(folder, **changes)
    assert all(word in status("cpu") for word in words)


@pytest.fixture
def old_gpu(monkeypatch):
    """A torch with CUDA 12.6 that sees one GPU of capability 7.0."""
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))


def test_cuda_library_for_other_gpus_is_not_loaded(folder, old_gpu):
    (folder / "hyperconv_cuda.so").write_bytes(b"loading this would be another error")
    record(folder)
    assert "built for GPU architectures 8.0, 9.0+PTX, and here is 7.0" in status("cuda")


def test_cuda_library_of_a_later_toolkit_is_not_loaded(folder, old_gpu):
    (folder / "hyperconv_cuda.so").write_bytes(b"loading this would be another error")
    record(folder, cuda_version="13.0")
    assert "built with CUDA 13.0, and this torch has CUDA 12.6" in status("cuda")


@pytest.mark.parametrize(
    ("architecture", "capability", "runs"),
    [
        ("8.0", (8, 0), True),
        ("8.0", (8, 6), True),
        ("8.6", (8, 0), False),
        ("8.0", (9, 0), False),
        ("8.0+PTX", (9, 0), True),
        ("9.0+PTX", (8, 9), False),
        ("10.0", (10, 3), True),
        ("9.0a", (9, 0), True),
        ("9.0a+PTX", (10, 0), False),
        ("10.0f", (10, 3), True),
        ("10.0f+PTX", (12, 0), False),
    ],
)
def test_which_gpus_run_which_code(architecture, capability, runs):
    assert native.runs_on(architecture, capability) is runs


def test_unknown_instruction_set_is_the_reason(folder, monkeypatch):
    monkeypatch.setattr(native, "instruction_set", lambda: (None, "HYPERCONV_CPU_ISA=mmx cannot run"))
    monkeypatch.setattr(native, "load", lambda library: None)
    (folder / "hyperconv_cpu.so").write_bytes(b"stands for one that loads")
    record(folder)
    assert status("cpu") == "HYPERCONV_CPU_ISA=mmx cannot run"


def test_tiles_of_a_processor_are_built_where_the_compiler_knows_them(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "WORK", tmp_path)
    sets = script.tile_sets(["false"])
    assert list(sets) == ["amx_emulated", "avx512bf16_emulated"]
    assert not any(flag.startswith(("-mamx", "-mavx")) for flags in sets.values() for flag in flags)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++: the native library is not built")
def test_the_built_library_has_every_operator_and_an_instruction_set():
    assert native.status("cpu") is None
    for operation in OPERATIONS:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"hyperconv_native::{operation}", "CPU")
    assert native.instruction_set()[0] in ("amx", "avx512", "avx2", "baseline")


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (None, ["8.0", "9.0+PTX"]),
        ("", ["8.0", "9.0+PTX"]),
        ("8.0", ["8.0"]),
        ("8.0;9.0+PTX", ["8.0", "9.0+PTX"]),
        ("8.6 9.0a, 12.0f", ["8.6", "9.0a", "12.0f"]),
        ("Ampere;Hopper+PTX", ["8.0", "8.6", "9.0+PTX"]),
        ("Ampere+PTX;", ["8.0", "8.6+PTX"]),
    ],
)
def test_architectures_as_torch_writes_them(requested, expected):
    assert script.cuda_architectures(requested, {"7.5", "8.0", "9.0"}) == expected


def test_architectures_that_are_none():
    with pytest.raises(script.NotBuilt, match="names 'sm_90'"):
        script.cuda_architectures("8.0;sm_90", {"8.0"})
    with pytest.raises(script.NotBuilt, match=r"nvcc knows none of 8\.0, 9\.0, 10\.0"):
        script.cuda_architectures(None, {"5.2"})


def test_machine_code_and_ptx_are_asked_of_nvcc():
    assert script.gencode_flags(["8.0", "10.0+PTX"]) == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_100,code=sm_100",
        "-gencode=arch=compute_100,code=compute_100",
    ]


def test_sources_keep_to_the_error_macro_of_torch_2_10():
    """The later one is defined for every target: what uses it compiles here, and not with the headers before it."""
    sources = [path for path in (Path(__file__).parents[2] / "csrc").rglob("*") if path.is_file()]
    assert len(sources) > 50
    assert not [path.name for path in sources if "STABLE_TORCH_ERROR_CODE_CHECK" in path.read_text()]

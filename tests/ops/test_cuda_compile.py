"""Without a GPU: the CUDA sources compile for every architecture, and the library links and registers."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from setup_script import ROOT, nvcc_or_skip, script

from hyperconv.ops import schema

pytestmark = pytest.mark.timeout(1800)  # two minutes of two cores, and this machine may be busy
NVCC = nvcc_or_skip()
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
STAND_IN = """
int aoti_torch_get_current_cuda_stream(int device, void** stream) { *stream = 0; return 0; }
int torch_c10_cuda_check_msg(int error, const char* file, const char* function, unsigned line, int sync,
                             char** message) { *message = 0; return 0; }
void torch_c10_cuda_free_error_msg(char* message) {}
"""


def run(*command):
    """Run a compiler; what it prints."""
    finished = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(object files, architectures, all that nvcc and ptxas say); any warning in our own code is an error."""
    folder = tmp_path_factory.mktemp("cuda")
    known = script.output_of(NVCC[0], "--list-gpu-arch")
    names = {word: f"compute_{word.replace('.', '')}" for word in script.CUDA_ARCHITECTURES}
    architectures = [word for word, name in names.items() if name in known]
    flags = [*script.CODE_FLAGS, *script.CUDA_FLAGS, *script.gencode_flags(architectures)]
    strict = ["-Werror", "all-warnings", "-Xcompiler", "-Werror", "-Xptxas", "-v"]
    command = [*NVCC, *flags, *strict, *script.torch_headers(script.find_torch()), "-c"]
    objects = [folder / f"{source.stem}.o" for source in SOURCES]
    with ThreadPoolExecutor(2) as pool:
        logs = pool.map(lambda source, target: run(*command, source, "-o", target), SOURCES, objects)
        return objects, architectures, "".join(logs)


def test_every_architecture_compiles_without_spills(compiled):
    _, architectures, log = compiled
    report = r"Compiling entry function '(\w+)' for 'sm_(\d+)a?'\n.*\n *(\d+) bytes stack frame, (\d+) bytes spill"
    kernels = re.findall(report, log)
    assert {target for _, target, *_ in kernels} == {word.replace(".", "") for word in architectures}
    assert len(kernels) == log.count("Compiling entry function")
    assert [name for name, _, stack, spilled in kernels if (stack, spilled) != ("0", "0")] == []


def test_two_blocks_on_tensor_cores_fit_a_multiprocessor(compiled):
    """Their registers: 65536 for two blocks of 128 threads."""
    _, _, log = compiled
    report = r"Compiling entry function '\w+_tile_kernel\w+Tensor\w+' for .*\n.*\n.*\n.*Used (\d+) registers"
    registers = [int(count) for count in re.findall(report, log)]
    assert registers
    assert max(registers) * 128 * 2 <= 65536


def test_the_library_links_beside_a_cpu_torch_and_registers_its_operators(compiled, tmp_path):
    """Loaded in a process of its own, over a stand-in for the three symbols it takes of libtorch_cuda."""
    source, stand_in = tmp_path / "stand_in.c", tmp_path / "stand_in.so"
    library = tmp_path / "hyperconv_cuda.so"
    source.write_text(STAND_IN)
    run(*script.find_compiler(), "-shared", "-fPIC", "-x", "c", source, "-o", stand_in)
    libraries = script.torch_libraries(script.find_torch())
    run(*NVCC, "-shared", "-cudart", "static", *libraries, *compiled[0], "-o", library)
    program = f"""
import ctypes, torch
ctypes.CDLL({str(stand_in)!r}, mode=ctypes.RTLD_GLOBAL)
definitions = torch.library.Library("hyperconv_native", "DEF")
for name, declaration in {schema.SCHEMAS!r}.items():
    definitions.define(name + declaration)
torch.ops.load_library({str(library)!r})
for name in {schema.OPERATIONS!r}:
    assert torch._C._dispatch_has_kernel_for_dispatch_key("hyperconv_native::" + name, "CUDA"), name
ctypes.CDLL({str(library)!r}).hyperconv_cuda_allow_tf32(1)
"""
    run(sys.executable, "-c", program)

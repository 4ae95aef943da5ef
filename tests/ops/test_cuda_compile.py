"""Without a GPU: the CUDA sources compile for every architecture, and the library links and registers."""

import re
import subprocess
import sys

import pytest
from setup_script import ROOT, nvcc_or_skip, script

NVCC = nvcc_or_skip()
SCHEMA = "(Tensor input, Tensor weight, Tensor? bias, int[2] stride, int[2] padding, int[2] dilation, "
SCHEMA += "int groups, int activation, float negative_slope) -> Tensor"
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
    """(object file, architectures, all that nvcc and ptxas say); any warning in our own code is an error."""
    target = tmp_path_factory.mktemp("cuda") / "conv2d.o"
    known = script.output_of(NVCC[0], "--list-gpu-arch")
    names = {word: f"compute_{word.replace('.', '')}" for word in script.CUDA_ARCHITECTURES}
    architectures = [word for word, name in names.items() if name in known]
    flags = [*script.CODE_FLAGS, *script.CUDA_FLAGS, *script.gencode_flags(architectures)]
    strict = ["-Werror", "all-warnings", "-Xcompiler", "-Werror", "-Xptxas", "-v"]
    headers = script.torch_headers(script.find_torch())
    log = run(*NVCC, *flags, *strict, *headers, "-c", ROOT / "csrc" / "cuda" / "conv2d.cu", "-o", target)
    return target, architectures, log


def test_every_architecture_compiles_without_spills(compiled):
    _, architectures, log = compiled
    targets = re.findall(r"Compiling entry function '\w+' for 'sm_(\d+)a?'", log)
    assert set(targets) == {word.replace(".", "") for word in architectures}
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert len(spills) == len(targets) == 12 * len(architectures), "4 dtypes x 3 block shapes"
    assert set(spills) == {("0", "0", "0")}


def test_the_library_links_beside_a_cpu_torch_and_registers_its_operator(compiled, tmp_path):
    """Loaded in a process of its own, over a stand-in for the three symbols it takes of libtorch_cuda."""
    source, stand_in = tmp_path / "stand_in.c", tmp_path / "stand_in.so"
    library = tmp_path / "hyperconv_cuda.so"
    source.write_text(STAND_IN)
    run(*script.find_compiler(), "-shared", "-fPIC", "-x", "c", source, "-o", stand_in)
    libraries = script.torch_libraries(script.find_torch())
    run(*NVCC, "-shared", "-cudart", "static", *libraries, compiled[0], "-o", library)
    program = f"""
import ctypes, torch
ctypes.CDLL({str(stand_in)!r}, mode=ctypes.RTLD_GLOBAL)
definitions = torch.library.Library("hyperconv_native", "DEF")
definitions.define("conv2d" + {SCHEMA!r})
torch.ops.load_library({str(library)!r})
assert torch._C._dispatch_has_kernel_for_dispatch_key("hyperconv_native::conv2d", "CUDA")
"""
    run(sys.executable, "-c", program)

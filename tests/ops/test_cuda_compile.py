"""Without a GPU: the CUDA library as it is installed, for every architecture: no spills, no warnings, and it registers.

What the installation compiled is not compiled again: ninja finds it in the build folder, with what each compiler said.
"""

import re
import subprocess
import sys

import pytest
from setup_script import ROOT, nvcc_or_skip, script

from hyperconv.ops import schema

pytestmark = pytest.mark.timeout(1800)  # where nothing is built yet: minutes of two cores, and this machine may be busy
nvcc_or_skip()
STAND_IN = """
int aoti_torch_get_current_cuda_stream(int device, void** stream) { *stream = 0; return 0; }
int torch_c10_cuda_check_msg(int error, const char* file, const char* function, unsigned line, int sync,
                             char** message) { *message = 0; return 0; }
void torch_c10_cuda_free_error_msg(char* message) {}
"""


@pytest.fixture(scope="module")
def built():
    """(the library, its architectures, all that nvcc and ptxas said) of the build that setup.py makes by default."""
    record = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name in ("HYPERCONV_CUDA", "TORCH_CUDA_ARCH_LIST"):
            patch.delenv(name, raising=False)
        library = script.build_cuda(record).resolve()
    logs = [library.parent / "cuda" / f"{source.stem}.o.log" for source in (ROOT / "csrc" / "cuda").glob("*.cu")]
    return library, record["cuda_architectures"], "".join(log.read_text() for log in logs)


def test_every_architecture_compiles_without_spills(built):
    _, architectures, log = built
    report = r"Compiling entry function '(\w+)' for 'sm_(\d+)a?'\n.*\n *(\d+) bytes stack frame, (\d+) bytes spill"
    kernels = re.findall(report, log)
    assert {target for _, target, *_ in kernels} == {re.sub(r"\D", "", word) for word in architectures}
    assert len(kernels) == log.count("Compiling entry function")
    assert [name for name, _, stack, spilled in kernels if (stack, spilled) != ("0", "0")] == []


def test_no_compiler_warns(built):
    assert [line for line in built[2].splitlines() if re.search(r"\bwarning\b", line, re.IGNORECASE)] == []


def test_two_blocks_on_tensor_cores_fit_a_multiprocessor(built):
    """Their registers: 65536 for two blocks of 128 threads."""
    _, _, log = built
    report = r"Compiling entry function '\w+_tile_kernel\w+Tensor\w+' for .*\n.*\n.*\n.*Used (\d+) registers"
    registers = [int(count) for count in re.findall(report, log)]
    assert registers
    assert max(registers) * 128 * 2 <= 65536


def test_the_library_loads_beside_a_cpu_torch_and_registers_its_operators(built, tmp_path):
    """In a process of its own, over a stand-in for the three symbols it takes of libtorch_cuda."""
    source, stand_in = tmp_path / "stand_in.c", tmp_path / "stand_in.so"
    source.write_text(STAND_IN)
    subprocess.run([*script.find_compiler(), "-shared", "-fPIC", "-x", "c", source, "-o", stand_in], check=True)
    program = f"""
import ctypes, torch
ctypes.CDLL({str(stand_in)!r}, mode=ctypes.RTLD_GLOBAL)
definitions = torch.library.Library("hyperconv_native", "DEF")
for name, declaration in {schema.SCHEMAS!r}.items():
    definitions.define(name + declaration)
torch.ops.load_library({str(built[0])!r})
for name in {schema.OPERATIONS!r}:
    assert torch._C._dispatch_has_kernel_for_dispatch_key("hyperconv_native::" + name, "CUDA"), name
ctypes.CDLL({str(built[0])!r}).hyperconv_cuda_allow_tf32(1)
"""
    finished = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr

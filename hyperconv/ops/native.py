"""The native libraries in hyperconv/_native: which of them runs here, and for one that does not, why.

A library only adds kernels to the operators that `hyperconv.ops.schema` defines in the namespace
`hyperconv_native`; the six functions of this module are those operators.
"""

import ctypes
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from hyperconv.ops import schema  # noqa: F401  (defines the operators)
from hyperconv.version import __version__

DIRECTORY = Path(__file__).resolve().parent.parent / "_native"
DEVICES = ("cpu", "cuda")
REBUILD = "install hyperconv again to rebuild it"


def _operator(name: str):
    """The operator of the native libraries; float32 on a GPU follows torch's own switch for TF32."""
    operator = getattr(torch.ops.hyperconv_native, name).default

    def run(first: torch.Tensor, *args: object):
        if first.is_cuda and first.dtype == torch.float32:
            _pass_tf32_switch()
        return operator(first, *args)

    run.__name__ = run.__qualname__ = name
    return run


def quick(name: str):
    """The operator of the native libraries for tensors on a CPU, without Python between the call and the dispatcher."""
    operator = getattr(torch.ops.hyperconv_native, name).default
    return getattr(operator, "_op", operator)


def _pass_tf32_switch() -> None:
    """Tell the CUDA library, which cannot read it, what torch.backends.cudnn.conv.fp32_precision says now.

    One value for the whole process, as torch's is: `allow_tf32` and `fp32_precision` of all floors end in it.
    """
    library = _cuda_library()
    if library is not None:
        library.hyperconv_cuda_allow_tf32(torch.backends.cudnn.conv.fp32_precision == "tf32")


@functools.cache
def _cuda_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(str(library_path("cuda"))) if status("cuda") is None else None


conv2d = _operator("conv2d")
masked_conv2d = _operator("masked_conv2d")
input_gradient = _operator("input_gradient")
weight_gradient = _operator("weight_gradient")
bias_gradient = _operator("bias_gradient")
parameter_gradients = _operator("parameter_gradients")


@functools.cache
def status(device_type: str) -> str | None:
    """None when the native kernels run on `device_type`, else the reason, in one line.

    The first call loads the library: it may be absent (not built, and why), mismatched (built for another
    version, a later torch or other GPUs) or broken (it does not load).
    """
    if device_type not in DEVICES:
        return f"there are no native kernels for {device_type} devices"
    record = build_record()
    library = library_path(device_type)
    if not library.exists():
        return f"not built: {record['failures'].get(device_type, f'{library} does not exist; {REBUILD}')}"
    reason = mismatch(record, device_type) or truncation(record, library) or load(library)
    if reason is None and device_type == "cpu":
        _, reason = instruction_set()
    return reason


def library_path(device_type: str) -> Path:
    return DIRECTORY / f"hyperconv_{device_type}.so"


def build_record() -> dict:
    """What setup.py noted: version, torch_target, cuda_version, cuda_architectures, sizes and failures."""
    path = DIRECTORY / "build.json"
    if not path.exists():
        return {"version": "of unknown version", "failures": {}}
    return json.loads(path.read_text())


def mismatch(record: dict, device_type: str) -> str | None:
    """Why libraries with this record do not fit this hyperconv, torch or GPU; None when they do."""
    if record["version"] != __version__:
        return f"built for hyperconv {record['version']}, and this is {__version__}: {REBUILD}"
    if release(torch.__version__) < release(record["torch_target"]):
        return f"built for torch {record['torch_target']} or later, and this is torch {torch.__version__}"
    return gpu_mismatch(record) if device_type == "cuda" else None


def gpu_mismatch(record: dict) -> str | None:
    """Why the CUDA library runs on no GPU here; None when it does."""
    built, present = record["cuda_version"], torch.version.cuda
    if not torch.cuda.is_available() or present is None:
        return f"torch {torch.__version__} sees no CUDA GPU"
    if release(built)[0] > release(present)[0]:
        return f"built with CUDA {built}, and this torch has CUDA {present}: {REBUILD} with an older nvcc"
    capabilities = [torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())]
    architectures = record["cuda_architectures"]
    if any(runs_on(word, capability) for word in architectures for capability in capabilities):
        return None
    here = ", ".join(f"{major}.{minor}" for major, minor in capabilities)
    return f"built for GPU architectures {', '.join(architectures)}, and here is {here}: {REBUILD}"


def runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether code for '9.0' or '9.0+PTX' runs on a GPU of this capability.

    Machine code runs on the same major version with a minor version not lower, PTX on everything later; code
    for an architecture with a suffix ('9.0a', '10.0f') only where the suffix says: that GPU, or that family.
    """
    number, ptx, _ = architecture.partition("+PTX")
    built = release(number.rstrip("af"))
    if number.endswith("a"):
        return capability == built
    portable = bool(ptx) and not number.endswith("f")
    return capability >= built and (portable or capability[0] == built[0])


def release(version: str) -> tuple[int, int]:
    """(2, 13) of '2.13.0+cpu'."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def truncation(record: dict, library: Path) -> str | None:
    """Why a library is not whole: loading one that lacks its end would kill the process."""
    present, complete = library.stat().st_size, record["sizes"].get(library.name, 0)
    if present == complete:
        return None
    return f"broken: {library} has {present} bytes, and {complete} were installed: {REBUILD}"


def load(library: Path) -> str | None:
    """Load a library; the dynamic loader's own message when it is broken."""
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        return f"broken: {error.__cause__ or error}; {REBUILD}"
    return None


def instruction_set() -> tuple[str | None, str | None]:
    """(instruction set the loaded CPU library uses, None), or (None, why it uses none): HYPERCONV_CPU_ISA."""
    return _answer("hyperconv_cpu_isa"), _answer("hyperconv_cpu_isa_problem")


def why_no_amx() -> str | None:
    """None where the loaded CPU library may use AMX's matrix tiles in this process, else the reason."""
    return _answer("hyperconv_cpu_why_no_amx")


def algorithm(product: int, layer: Sequence[int]) -> str:
    """How the loaded CPU library would compute a layer in float32; csrc/cpu/answers.h says what is asked and answered."""
    return _answer("hyperconv_cpu_algorithm", ctypes.c_int64(product), (ctypes.c_int64 * len(layer))(*layer))


def _answer(function: str, *args) -> str | None:
    """What a function of the CPU library says, if anything."""
    ask = getattr(ctypes.CDLL(str(library_path("cpu"))), function)
    ask.restype = ctypes.c_char_p
    answer = ask(*args)
    return answer.decode() if answer else None

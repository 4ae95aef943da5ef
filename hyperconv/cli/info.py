"""What runs on this machine, and for everything that does not, why: the text of `hyperconv info`."""

import importlib
import os
import platform
from collections.abc import Iterator

import torch

from hyperconv.files import cache_folder
from hyperconv.ops import ledger, native, results
from hyperconv.ops.backends import backends
from hyperconv.ops.selftest import CHECKED
from hyperconv.version import __version__

Line = tuple[str, str]
ENVIRONMENT = ("TORCH_CUDA_ARCH_LIST", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def report() -> str:
    """Versions, backends, processor and GPUs, the native build and the environment, a line for each."""
    sections = {
        "versions": versions(),
        "backends": backend_lines(),
        "GPU results": gpu_results(),
        "machine": machine(),
        "native build": build(),
        "environment": environment(),
    }
    return "\n".join(text for title, lines in sections.items() for text in [title, *map(_indented, lines)])


def versions() -> Iterator[Line]:
    yield "hyperconv", __version__
    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "torch", torch.__version__
    yield "triton", ledger.triton_version()


def backend_lines() -> Iterator[Line]:
    for name, devices in backends().items():
        for device, reason in devices.items():
            yield f"{name} {device}", "runs" if reason is None else f"does not run: {reason}"


def gpu_results() -> Iterator[Line]:
    """What was run on which GPU, and what is known of the GPUs here."""
    ran = ", ".join(f"{capability} ({file})" for capability, file in results.RESULTS.items())
    for name in CHECKED:
        yield f"{name} cuda", f"committed results for {ran}" if ran else "no committed result for any GPU yet"
    checked = "a check beside the reference on this GPU found it right, else reference"
    yield "auto on cuda", f"the fastest by committed results, else triton, else native; only where {checked}"
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        known = ledger.outcomes(device)
        wrong = [subject for subject, outcome in known.items() if not outcome.passed]
        found = f"{len(known)} classes of kernels checked, {len(wrong)} of them wrong"
        yield f"GPU {index} checks", f"{found}; {ledger.path(device)}" if known else "none yet; `hyperconv selftest`"
        yield from ((f"GPU {index} wrong", f"{subject}: {known[subject].problem}") for subject in wrong)
    yield "kept in", str(cache_folder())


def machine() -> Iterator[Line]:
    yield "threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors"
    yield "processor", f"PyTorch uses {torch.backends.cpu.get_cpu_capability()}"
    if native.status("cpu") is None:
        yield "native kernels", f"use {native.instruction_set()[0]}"
        yield "AMX for bfloat16", native.why_no_amx() or "present"
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield f"GPU {index}", f"{gpu.name}, {gpu.major}.{gpu.minor}, {gpu.total_memory / 2**30:.0f} GiB"


def build() -> Iterator[Line]:
    """What the compiled module says of itself and the other libraries, and why any of them was not built."""
    failures = native.build_record()["failures"]
    yield from ((f"no {library}", reason) for library, reason in failures.items())
    if "build_info" in failures:
        return
    try:
        module = importlib.import_module("hyperconv._native.build_info")
    except ImportError as error:
        yield "no build_info", str(error)
        return
    for name, fact in vars(module).items():
        if isinstance(fact, str) and fact and not name.startswith("__"):
            yield name.replace("_", " "), fact


def environment() -> Iterator[Line]:
    names = [name for name in sorted(os.environ) if name.startswith("HYPERCONV_") or name in ENVIRONMENT]
    yield from ((name, os.environ[name]) for name in names)
    if not names:
        yield "HYPERCONV_*", "none set"


def _indented(line: Line) -> str:
    label, text = line
    return f"  {label:<20} {text}"

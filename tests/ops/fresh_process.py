"""A function in a process of its own, where the CPU library reads HYPERCONV_CPU_ISA and HYPERCONV_CPU_ALGORITHM anew.

The processes are forked from one that has imported torch and nothing of ours: its seconds are paid once.
"""

import importlib
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor

import torch

from hyperconv.ops import native

WITHOUT_TILES = ("baseline", "avx2", "avx512")
PYTORCHS_BASELINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["torch", "hypothesis", "pytest"])


def call(function, *arguments, instruction_set: str = "", algorithm: str = ""):
    """What a function of a module returns or raises there; beside "baseline" PyTorch, too, computes as old processors do."""
    environment = {"HYPERCONV_CPU_ISA": instruction_set, "HYPERCONV_CPU_ALGORITHM": algorithm}
    if instruction_set == "baseline":
        environment |= PYTORCHS_BASELINE
    with ProcessPoolExecutor(1, _processes, _begin, (environment,)) as process:
        return process.submit(_run, function.__module__, function.__name__, *arguments).result()


def _begin(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    native.status("cpu")  # loads the library


def _run(module: str, name: str, *arguments):
    return getattr(importlib.import_module(module), name)(*arguments)


def convolve() -> torch.Tensor:
    """The smallest call of the library."""
    image, weight = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 1, 3, 3)
    return native.conv2d(image, weight, None, (1, 1), (0, 0), (1, 1), 1, 0, 0.0)


def instruction_sets(tiles: bool = False) -> list[str]:
    """What this machine runs, from the message about a name that no machine has; with matrix tiles, or without.

    Those with tiles have another's kernels for all else.
    """
    problem = call(native.status, "cpu", instruction_set="imaginary")
    names = re.search("set it to one of (.*), or unset it", problem)[1].split(", ")
    return [name for name in names if (name not in WITHOUT_TILES) == tiles]

"""The backends of this machine beside the reference, class by class: what `hyperconv selftest` runs.

A class is one of Triton's kernels (`hyperconv.ops.classes`); for the native backend it is a layer worth checking.
"""

import platform
from collections.abc import Collection, Iterator
from typing import NamedTuple

import torch

from hyperconv.kernels.arithmetic import ARITHMETICS, products_in
from hyperconv.ops import ledger
from hyperconv.ops.backends import MODULES, NAMES, backends
from hyperconv.ops.schema import OPERATIONS
from hyperconv.ops.specimen import LAYERS, specimens
from hyperconv.ops.trial import Outcome, Trial, attempt, variants
from hyperconv.version import __version__

CHECKED = tuple(name for name in NAMES if name != "reference")


class Check(NamedTuple):
    """One operation of a backend in one class, and the worst outcome of its trials."""

    backend: str
    device: torch.device
    trial: Trial
    outcome: Outcome


def devices() -> list[torch.device]:
    """The processor and every GPU."""
    return [torch.device("cpu"), *(torch.device("cuda", index) for index in range(torch.cuda.device_count()))]


def here(device: torch.device, names: Collection[str] | None = None) -> list[str]:
    """The backends to check on a device: those named, or all that run, Triton's interpreter left out."""
    found = backends()
    wanted = names or [name for name in CHECKED if (name, device.type) != ("triton", "cpu")]
    return [name for name in wanted if found[name][device.type] is None]


def selftest(
    backend: str, device: torch.device, arithmetic: Collection[str] = tuple(ARITHMETICS), every: bool = False
) -> Iterator[Check]:
    """Check a backend on a device, a result at a time.

    The classes are those of usual layers, or with `every` all that there are, with images and channels that fill no
    tile too (which native is always asked on a processor). PyTorch's switch for TF32 is set while a check runs. What is
    found of Triton's kernels on a GPU is noted: `auto` goes by it.
    """
    for precision in arithmetic:
        if precision == "tf32" and device.type == "cpu":
            continue
        for trials in _trials(backend, device, precision, every):
            outcomes = [_outcome(trial, device, backend) for trial in trials]
            worst = max(outcomes, key=Outcome.badness)
            if backend == "triton" and device.type == "cuda":
                ledger.note(device, str(trials[0]), worst)
            yield Check(backend, device, trials[0], worst)


def _trials(backend: str, device: torch.device, arithmetic: str, every: bool) -> Iterator[list[Trial]]:
    """The variants of every operation and class."""
    on_cpu = device.type == "cpu"
    interpreted = on_cpu and backend == "triton"
    for operation in OPERATIONS:
        for layer, usual in specimens(operation, arithmetic).items():
            common = (usual.channels, usual.outputs) in LAYERS and usual.stride == (1, 1)
            if not (every or common and (layer.small or not on_cpu)):
                continue
            names = ["tiny"] if interpreted else variants(operation, layer, arithmetic)
            if not interpreted and (every or on_cpu):
                names.append("uneven")
            known = [name for name in names if layer in specimens(operation, arithmetic, name)]
            if known:
                yield [Trial(operation, layer, arithmetic, name) for name in known]


def _outcome(trial: Trial, device: torch.device, backend: str) -> Outcome:
    with products_in(trial.arithmetic):
        return attempt(trial, device, MODULES[backend], timed=True)


def environment() -> dict[str, str]:
    """What a bug report has to say of this machine."""
    facts = {
        "hyperconv": __version__,
        "system": f"{platform.platform()}, Python {platform.python_version()}",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}",
        "triton": ledger.triton_version(),
        "processor": f"{platform.machine()}, PyTorch uses {torch.backends.cpu.get_cpu_capability()}",
    }
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        facts[f"GPU {index}"] = f"{gpu.name}, {gpu.major}.{gpu.minor}, driver {ledger.driver()}"
    for name in CHECKED:
        for device, reason in backends()[name].items():
            facts[f"{name} {device}"] = "runs" if reason is None else f"does not run: {reason}"
    return facts

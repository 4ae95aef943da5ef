"""What was checked on this user's devices, and how it ended: JSON files in the user's cache folder.

There is a file for each setting (GPU model, driver, versions, kernels, tiles); change any of them and nothing is known.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import platform
import re
import threading
from pathlib import Path

import torch

from hyperconv import kernels
from hyperconv.files import cache_folder, replacing
from hyperconv.kernels import measured
from hyperconv.ops.trial import Outcome
from hyperconv.version import __version__

_logger = logging.getLogger(__name__)
_lock = threading.Lock()
_read: dict[Path, dict[str, Outcome]] = {}


@functools.cache
def setting(device: torch.device) -> dict[str, str]:
    """All that an outcome on this device depends on."""
    on_gpu = device.type == "cuda"
    capability = "{}.{}".format(*torch.cuda.get_device_capability(device)) if on_gpu else "none"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "capability": capability,
        "driver": driver() if on_gpu else "none",
        "torch": torch.__version__,
        "triton": triton_version(),
        "hyperconv": __version__,
        "kernels": _kernel_sources(),
        "tiles": _digest(json.dumps(measured.best(capability), sort_keys=True).encode()),
    }


def recall(device: torch.device, subject: str) -> Outcome | None:
    """How the check of this subject ended on such a device, now or in an earlier process."""
    return outcomes(device).get(subject)


def outcomes(device: torch.device) -> dict[str, Outcome]:
    """All that is known of such a device, by subject."""
    file = path(device)
    with _lock:
        if file not in _read:
            _read[file] = _load(file, setting(device))
        return _read[file]


def note(device: torch.device, subject: str, outcome: Outcome) -> None:
    """Keep a conclusive outcome, on disk too where the folder can be written."""
    if not outcome.conclusive:
        return
    file, known = path(device), outcomes(device)
    with _lock:
        known[subject] = outcome
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            known.update({**_load(file, setting(device)), **known})  # what other processes noted meanwhile
            content = {
                "setting": setting(device),
                "outcomes": {name: dataclasses.asdict(each) for name, each in sorted(known.items())},
            }
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(content, indent=1) + "\n")
        except OSError as error:
            _logger.info("checks are kept for this process only: %s", error)


def path(device: torch.device) -> Path:
    here = setting(device)
    name = re.sub(r"[^a-z0-9]+", "-", here["device"].lower()).strip("-")
    return cache_folder() / "trust" / f"{name}-{_digest(json.dumps(here, sort_keys=True).encode())}.json"


def driver() -> str:
    """The NVIDIA driver's version, like '580.65.06'."""
    try:
        found = re.search(r"Module\s+(?:for \S+\s+)?([\d.]+)", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        found = None
    return found.group(1) if found else "unknown"


def triton_version() -> str:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _load(file: Path, here: dict[str, str]) -> dict[str, Outcome]:
    try:
        content = json.loads(file.read_text())
        if content["setting"] != here:
            raise ValueError("it is of another setting")
        return {name: Outcome(**fields) for name, fields in content["outcomes"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _logger.warning("%s is left out (%s); kernels are checked again", file, error)
        return {}


@functools.cache
def _kernel_sources() -> str:
    folder = Path(kernels.__file__).parent
    return _digest(b"".join(source.read_bytes() for source in sorted(folder.glob("*.py"))))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]

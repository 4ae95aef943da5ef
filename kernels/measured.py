"""What `hyperconv tune` found on this machine: a JSON file in the user's cache folder.

Figures hold for one GPU model, one Triton and one hyperconv, so they are kept under a title that names all three;
what another version left is never read. A file that cannot be read is reported and counts as absent.
"""

import functools
import json
import logging
from pathlib import Path

import torch
import triton

from hyperconv.files import cache_folder, replacing
from hyperconv.version import __version__

FORMAT = 2
FIELDS = {"pixels", "pairs", "outputs", "warps", "stages", "pack", "relaid"}
_logger = logging.getLogger(__name__)


def path() -> Path:
    return cache_folder() / "tiles.json"


def title(device_name: str, capability: str) -> str:
    """What measurements hold for: 'NVIDIA H200, 9.0, triton 3.6.0, hyperconv 0.1.0'."""
    return f"{device_name}, {capability}, triton {triton.__version__}, hyperconv {__version__}"


def read() -> dict[str, dict[str, dict]]:
    """{title: {'tf32 correlate/wide/64/small/nchw': {'tiles': {...}, 'finished': bool, 'tried': {...}}}}."""
    file = path()
    try:
        content = json.loads(file.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, and this version reads {FORMAT}")
        devices = content["devices"]
        if not all(isinstance(record, dict) for classes in devices.values() for record in classes.values()):
            raise ValueError("its records are no objects")
        return devices
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _logger.warning("%s is left out (%s); `hyperconv tune` writes it anew", file, error)
        return {}


def keep(here: str, name: str, record: dict) -> None:
    """Replace the record of one class, beside all that is in the file."""
    devices = read()
    devices.setdefault(here, {})[name] = record
    path().parent.mkdir(parents=True, exist_ok=True)
    with replacing(path()) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, "devices": devices}, indent=1) + "\n")


@functools.cache
def best(capability: str) -> dict[str, dict]:
    """The quickest tiles of every measured class, for this machine's first GPU of a capability; read once a process."""
    for index in range(torch.cuda.device_count()):
        if "{}.{}".format(*torch.cuda.get_device_capability(index)) == capability:
            records = read().get(title(torch.cuda.get_device_name(index), capability), {})
            return {name: record["tiles"] for name, record in records.items() if usable(record.get("tiles"))}
    return {}


def usable(tiles: object) -> bool:
    """Whether a record's tiles are what `configurations.Tiles` takes, sizes of a kernel among powers of two."""
    if not isinstance(tiles, dict) or tiles.keys() != FIELDS:
        return False
    sizes = [tiles[name] for name in ("pixels", "pairs", "outputs", "warps")]
    whole = all(type(size) is int and size > 0 and size & (size - 1) == 0 for size in sizes)
    switches = all(type(tiles[name]) is bool for name in ("pack", "relaid"))
    return whole and switches and type(tiles["stages"]) is int and tiles["stages"] > 0

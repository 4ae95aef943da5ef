"""What training needs of a device's memory, said before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from hyperconv.data.collection import Collection
from hyperconv.errors import InputError
from hyperconv.gan.precision import generated_dtype
from hyperconv.gan.presets import Config
from hyperconv.gan.system import System

LAYERS_ALIVE = 4  # at the peak of a round, outputs and gradients of one layer, per photo and layer of the nets
LAYERS_ALIVE_AGAIN = 3  # the same where activations are computed again on the way back
EMBEDDING_BYTES = {"conv": 300, "resnet18": 700, "resnet34": 1000, "resnet50": 4000}  # per pixel that one sees
FROZEN_BYTES = 600  # of one without a way back: two layers of 64 channels
LEARNS = 8  # bytes of a parameter in training: itself and its gradient
AVERAGES = 8  # bytes of Adam's two averages of it, which processes divide among themselves
SHARE = 0.9  # of the free memory; the rest is the allocator's
RESIDENT = 0.25  # of the free memory, at most, for photos that wait on the device
KNOBS = "--max-size, --batch-size, or hidden or features of the preset"


def parameter_bytes(system: System, scale: int, processes: int = 1) -> int:
    """Parameters, gradients and optimizer states when `scale` trains: of a system that may still have fewer scales."""
    resting, training = system.parameter_counts(scale)
    remembered = 4 if system.config.alone or system.config.average else 0  # see Safeguard, and Player.settle
    return 4 * resting + (LEARNS + AVERAGES // processes + remembered) * training


class ScalePlan(NamedTuple):
    """How a scale trains in the memory there is: photos together, and whether activations are computed again."""

    photos: int
    recompute: bool


def photo_bytes(config: Config, channels: int, height: int, width: int, recompute: bool = False) -> int:
    """Activations of one photo at the peak of a step whose newest scale has this size."""
    layers = config.depth if config.train_depth == 1 else 2 + (config.depth - 2) * config.train_depth
    alive = LAYERS_ALIVE_AGAIN if recompute else LAYERS_ALIVE
    return alive * layers * _layer_bytes(config, height, width) + 40 * channels * height * width * 4


def _layer_bytes(config: Config, height: int, width: int) -> int:
    hidden = config.hidden_at(config.scale_count - 1)
    return hidden * height * width * (4 if config.norm != "none" else generated_dtype(config.precision).itemsize)


def batch_bytes(config: Config, system: System, photos: int) -> int:
    """What every photo of a batch needs during a whole step: generated weights and embeddings."""
    if config.alone:
        return 0
    weights = 4 * 3 * 4 * system.generator_template.layout(0).size
    return photos * (weights + 2 * EMBEDDING_BYTES.get(config.embedding, FROZEN_BYTES) * config.embedding_size**2)


def plan_scales(
    system: System, collection: Collection, photos: int, free: int | None, where: str, processes: int = 1
) -> list[ScalePlan]:
    """How every scale is to train on `photos` photos a step in `free` bytes (None: unknown) of each process.

    The whole batch at a time where that fits, else a half, a quarter ..., and where not even one photo does, that one
    with its activations computed again on the way back; the gradients are the same. InputError where that is too much
    still, before anything is allocated for it.
    """
    return [
        _plan(system, scale, collection.sizes[scale].amax(dim=0).tolist(), photos, free, where, processes)
        for scale in range(system.config.scale_count)
    ]


def _plan(
    system: System, scale: int, size: list[int], photos: int, free: int | None, where: str, processes: int
) -> ScalePlan:
    config, parameters = system.config, parameter_bytes(system, scale, processes)
    fixed = parameters + batch_bytes(config, system, photos)
    fixed += config.variants_at(scale) * photo_bytes(config, system.channels, *size)
    each, least = (photo_bytes(config, system.channels, *size, recompute) for recompute in (False, True))
    while photos > 1 and free is not None and fixed + photos * each > SHARE * free:
        photos = -(-photos // 2)
    if free is None or fixed + photos * each <= SHARE * free:
        return ScalePlan(photos, False)
    if fixed + least <= SHARE * free:
        return ScalePlan(photos, True)
    raise InputError(
        f"scale {scale + 1} ({size[1]}x{size[0]} px) needs about {gigabytes(fixed + least)}, "
        f"{gigabytes(parameters)} of it for parameters and optimizers; "
        f"{where} has {gigabytes(free)} free: lower {KNOBS}"
    )


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had on the device; None where nobody knows."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return _proc("/proc/meminfo", "MemAvailable:")


def is_exhausted(error: RuntimeError) -> bool:
    """Whether it says that an allocation failed, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def forget_peak(device: torch.device) -> None:
    """`peak_bytes` begins anew, where it can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most memory that tensors took since `forget_peak`; on a CPU what the process has now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _proc("/proc/self/status", "VmRSS:")


def can_keep(collection: Collection, device: torch.device) -> bool:
    """Whether the device that trains can keep all photos: their pyramids, one scale once more, what embeddings see."""
    if collection.on_disk:
        return False
    areas = [int(sizes.prod(dim=1).sum()) for sizes in collection.sizes]
    free = free_bytes(device)
    return free is None or 4 * collection.channels * (sum(areas) + 2 * areas[-1]) < RESIDENT * free


def has_room_for(path: Path) -> bool:
    """Whether main memory has room for a file of photos, and for as much again that is made of them."""
    free = free_bytes(torch.device("cpu"))
    return free is None or path.stat().st_size < RESIDENT * free


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _proc(file: str, name: str) -> int | None:
    """A number of kB in one of Linux's files, as bytes."""
    try:
        line = next(line for line in Path(file).read_text().splitlines() if line.startswith(name))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024

"""What the kernels become on a GPU that is not here: registers, spills, shared memory, instructions.

    python -m hyperconv.kernels.ahead --capability 9.0 --arithmetic bfloat16 --layer 64-64

The operators run on tensors without memory (`launch.rehearse`), and each launch they would make is compiled by Triton
exactly as its first run would be: the same specialisation, the same assembler, no GPU. Spilled bytes are counted in the
machine code, as Triton's options to the assembler change with its version.
"""

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from hyperconv.activations import LEAKY_RELU
from hyperconv.kernels import operations
from hyperconv.kernels.arithmetic import ARITHMETICS, products_in
from hyperconv.kernels.launch import INTERPRETED, Launch, rehearse
from hyperconv.memory_format import FORMATS

SHARED = {"8.0": 163, "9.0": 227, "10.0": 227}
"""KiB of shared memory one program may have, by capability."""

WEIGHT_SETS = 16


class Conv(NamedTuple):
    """A 3x3 layer; '64-64' with '/2' for a stride and 'x4' for groups."""

    channels: int
    outputs: int
    groups: int = 1
    stride: int = 1

    def __str__(self) -> str:
        groups, stride = f"x{self.groups}" if self.groups > 1 else "", f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.channels}-{self.outputs}{groups}{stride}"


LAYERS = (
    Conv(3, 64),
    Conv(3, 32),
    Conv(64, 64),
    Conv(32, 32),
    Conv(64, 3),
    Conv(64, 1),
    Conv(128, 128),
    Conv(64, 64, groups=4),
    Conv(64, 64, groups=64),
    Conv(64, 64, stride=2),
)
SIZES = (25, 128)
"""Pixels along an image's side: one small, one large."""


@dataclass
class Resources:
    """Of one compiled kernel: per thread `registers`, per program `shared` bytes, spills as bytes of its machine code.

    `matrix` are its matrix instructions, `copy` the most bytes that one thread reads from memory at once.
    """

    kernel: str
    tile: tuple[int, ...]
    warps: int
    stages: int
    registers: int
    spilled: int
    shared: int
    matrix: tuple[str, ...]
    copy: int

    def programs(self, capability: str) -> int:
        """How many run on one multiprocessor at once, by registers, shared memory and threads."""
        registers = -(-self.registers // 8) * 8 * 32 * self.warps
        return min(65536 // registers, 64 // self.warps, (SHARED[capability] + 1) * 1024 // (self.shared + 1024))


def launches(
    capability: str, arithmetic: str, layer: Conv, size: int, layout: str
) -> list[tuple[str, Launch, tuple[Tensor | None, ...]]]:
    """(operator, launch, its tensors) of a layer's forward and backward pass and double backward."""
    dtype = ARITHMETICS[arithmetic]

    def image(channels: int, side: int) -> Tensor:
        shape = (WEIGHT_SETS, channels, side, side)
        return torch.empty(shape, dtype=dtype, device="meta", memory_format=FORMATS[layout])

    operations.forget_plans()
    found = []
    with rehearse(capability) as rehearsal, products_in(arithmetic):
        x = image(layer.channels, size)
        y = image(layer.outputs, (size - 1) // layer.stride + 1)
        per_group = layer.channels // layer.groups
        weights = layer.outputs * per_group * 9
        flat = torch.empty(WEIGHT_SETS, weights + layer.outputs, dtype=dtype, device="meta")
        w = flat[:, :weights].view(WEIGHT_SETS, layer.outputs, per_group, 3, 3)
        b = flat[:, weights:]
        geometry = ([layer.stride] * 2, [1, 1], [1, 1], layer.groups)
        slope = 0.2
        calls = {
            "input": lambda: operations.input_gradient(y, w, y, [size, size], *geometry, slope),
            "parameters": lambda: operations.parameter_gradients(y, x, y, WEIGHT_SETS, [3, 3], *geometry, slope),
            "masked": lambda: operations.masked_conv2d(x, w, None, y, *geometry, slope),
            "forward": lambda: operations.conv2d(x, w, b, *geometry, LEAKY_RELU, slope),
            "bias": lambda: operations.bias_gradient(y, y, WEIGHT_SETS, slope),
        }
        for name, call in calls.items():
            call()
            found += [(name, *one) for one in rehearsal]
            rehearsal.clear()
    operations.forget_plans()
    return found


class _Device:
    """What Triton's driver says of a GPU, for one that is not here."""

    def __init__(self, capability: str):
        self.target = GPUTarget("cuda", int(capability.replace(".", "")), 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> str:
        return f"a GPU of capability {self.target.arch}"

    def get_current_stream(self, device: str) -> int:
        return 0


@contextmanager
def target(capability: str) -> Iterator[None]:
    """Triton compiles for this capability."""
    before = driver._active
    driver.set_active(_Device(capability))
    try:
        yield
    finally:
        driver.set_active(before)


def compiled(launch: Launch, tensors: tuple[Tensor | None, ...]):
    """Triton's compiled kernel for a launch; inside of `target`."""
    return launch.kernel.warmup(
        *tensors,
        *launch.arguments,
        *launch.constants,
        grid=(launch.programs,),
        num_warps=launch.warps,
        num_stages=launch.stages,
        enable_fp_fusion=True,
    )


def resources(launch: Launch, kernel) -> Resources:
    """Read off a compiled kernel's assembly and machine code."""
    ptx = kernel.asm["ptx"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = _cuobjdump("--dump-resource-usage", file.name)
        registers, stack = (int(re.search(rf"{name}:(\d+)", usage)[1]) for name in ("REG", "STACK"))
        spilled = _spilled(_cuobjdump("-sass", file.name)) if stack else 0
    matrix = re.findall(r"(wgmma|mma|tcgen05)\.(?:mma_async|sync|mma)[\w.:]*?(?:\.(m\d+n\d+k\d+)[\w.]*)?\s", ptx)
    copies = [int(size, 16) for size in re.findall(r"cp\.async\.c\w\.shared\.global[^;]*?\], 0x(\w+)", ptx)]
    loads = [
        int(count or 1) * int(bits) // 8
        for count, bits in re.findall(r"ld\.global[\w.:]*?(?:\.v(\d))?\.[bfsu](\d+)", ptx)
    ]
    return Resources(
        launch.kernel.__name__,
        tile(launch),
        launch.warps,
        launch.stages,
        registers,
        spilled,
        kernel.metadata.shared,
        tuple(sorted({" ".join(filter(None, one)) for one in matrix})),
        max(copies + loads, default=0),
    )


def _cuobjdump(*arguments: str) -> str:
    return subprocess.run([knobs.nvidia.cuobjdump.path, *arguments], capture_output=True, text=True, check=True).stdout


def _spilled(code: str) -> int:
    """Bytes of the instructions that write local memory or read it."""
    return sum(int(bits or 32) // 8 for bits in re.findall(r"\b(?:STL|LDL)(?:\.(?:LU|U8|S8))*(?:\.(64|128))?", code))


def specialisation(launch: Launch, tensors: tuple[Tensor | None, ...]) -> tuple:
    """Equal for launches that compile to the same code, nearly: integers tell by what Triton specialises on."""

    def kind(value):
        if isinstance(value, tuple):
            return tuple(map(kind, value))
        return value if value == 1 else (value % 16 == 0, value < 2**31)

    return (
        launch.kernel.__name__,
        tuple(None if t is None else t.dtype for t in tensors),
        tuple(map(kind, launch.arguments)),
        tuple(map(str, launch.constants)),
        launch.warps,
        launch.stages,
    )


def configuration(launch: Launch, tensors: tuple[Tensor | None, ...]) -> tuple:
    """Equal for launches with the same tiles, and packed weights or not."""
    packed = launch.kernel.__name__.startswith("correlate") and launch.arguments[1][3] == 1
    return (launch.kernel.__name__, packed, tile(launch), launch.warps, launch.stages)


def tile(launch: Launch) -> tuple[int, ...]:
    sizes = [
        value
        for parameter, value in zip(launch.kernel.params[::-1], launch.constants[::-1])
        if parameter.name.startswith("BLOCK")
    ]
    return tuple(sizes[::-1])


def each(
    capability: str, arithmetics=tuple(ARITHMETICS), layers=LAYERS, distinct=specialisation
) -> Iterator[tuple[str, Launch, tuple[Tensor | None, ...]]]:
    """(description, launch, its tensors) of the kernels of these layers.

    Of launches that `distinct` finds equal in one arithmetic and memory format, the first: operators that read a mask
    come before those that do not.
    """
    seen = set()
    for name, layer, size, layout in itertools.product(arithmetics, layers, SIZES, FORMATS):
        for operator, launch, tensors in launches(capability, name, layer, size, layout):
            key = (name, layout, distinct(launch, tensors))
            if key not in seen:
                seen.add(key)
                yield f"{name:8} {layer!s:9} {size:3} {layout} {operator}", launch, tensors


def tried(capability: str, launch: Launch, tensors: tuple[Tensor | None, ...]) -> Resources | Exception:
    """What a launch's kernel becomes; or why it does not compile."""
    try:
        with target(capability):
            return resources(launch, compiled(launch, tensors))
    except Exception as error:  # noqa: BLE001 -- Triton's stages and the assembler each have their own kinds
        return error


def row(capability: str, label: str, one: Resources | Exception) -> str:
    if isinstance(one, Exception):
        return f"{capability:4} {label:36} does not compile: {' '.join(str(one).split())[:300] or type(one).__name__}"
    return (
        f"{capability:4} {label:36} {one.kernel:14} {'x'.join(map(str, one.tile)):>10} {one.warps:5} {one.stages:6} "
        f"{one.registers:9} {one.spilled:7} {one.shared:7} {one.programs(capability):8} {one.copy:4}  "
        f"{', '.join(one.matrix) or '-'}"
    )


HEADER = (
    f"{'GPU':4} {'arithmetic, layer, size, layout':36} {'kernel':14} {'tile':>10} warps stages "
    "registers spilled  shared programs read  matrix instructions"
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hyperconv.kernels.ahead", description=__doc__.split("\n")[0])
    parser.add_argument("--capability", nargs="+", choices=SHARED, default=list(SHARED))
    parser.add_argument("--arithmetic", nargs="+", choices=ARITHMETICS, default=list(ARITHMETICS))
    parser.add_argument(
        "--layer", nargs="+", choices=[str(layer) for layer in LAYERS], default=[str(o) for o in LAYERS]
    )
    parser.add_argument("--tiles-once", action="store_true", help="each choice of tiles at one operator only")
    chosen = parser.parse_args(arguments)
    if INTERPRETED:
        parser.error("TRITON_INTERPRET is set: the interpreter compiles nothing; unset it")
    layers = [layer for layer in LAYERS if str(layer) in chosen.layer]
    distinct = configuration if chosen.tiles_once else specialisation
    print(HEADER)
    bad = 0
    for capability in chosen.capability:
        for label, *launch in each(capability, chosen.arithmetic, layers, distinct):
            one = tried(capability, *launch)
            print(row(capability, label, one), flush=True)
            bad += isinstance(one, Exception) or one.spilled > 0 or one.shared > SHARED[capability] * 1024
    print(f"{bad} kernels do not compile, spill registers or ask for more shared memory than there is")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""Who computes the operators: which backends run here, which one a call gets, and why the others do not run.

`reference` is plain PyTorch and runs everywhere; `native` is csrc/ on CPU and CUDA; `triton` is kernels/.
Each is a module with the six functions of `hyperconv.ops.schema`. `auto` takes the fastest for the call, and on a GPU
only what is trusted there.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from types import ModuleType

import torch

from hyperconv import kernels
from hyperconv.kernels.arithmetic import DTYPE_NAMES, arithmetic_of
from hyperconv.kernels.configurations import MANY_TAPS, Layer
from hyperconv.memory_format import layout
from hyperconv.ops import cpu_rule, ledger, native, reference, results, trust
from hyperconv.ops.classes import layer_of, shape_of
from hyperconv.ops.schema import AT_ONCE, OPERATIONS, public
from hyperconv.ops.triton_status import triton_status

NAMES = ("native", "triton", "reference")

MODULES = {"native": native, "triton": kernels, "reference": reference}
_logger = logging.getLogger(__name__)


class Backends(dict[str, dict[str, str | None]]):
    """{backend: {device: None where it runs, else the reason it does not}}; prints as a table."""

    def __str__(self) -> str:
        return "\n".join(
            f"{name:<10} {device:<5} {'runs' if reason is None else f'does not run: {reason}'}"
            for name, devices in self.items()
            for device, reason in devices.items()
        )

    __repr__ = __str__


def backends() -> Backends:
    """What runs here, and for each that does not, why: print it, or look at `backends()['native']['cpu']`."""
    return Backends({name: {device: _status(name, device) for device in native.DEVICES} for name in NAMES})


def _status(name: str, device_type: str) -> str | None:
    if name == "native":
        return native.status(device_type)
    if name == "triton":
        return triton_status(device_type)
    if device_type == "cuda" and not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA GPU"
    return None


class _Request:
    """One open `use_backend` context."""

    def __init__(self, name: str):
        self.name = name


# Of the whole process, oldest first; each change is one list operation, so threads do not disturb it.
_open: list[_Request] = []


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute with 'native', 'triton', 'reference' or 'auto' inside, backward passes too.

    The choice is made when a kernel runs, for the whole process: on CUDA a backward pass runs in threads of
    its own. Of several open contexts, nested or in other threads, the one entered last decides. Outside of
    any, the environment variable HYPERCONV_BACKEND does, or else 'auto'. A call that the backend cannot run
    raises. Around the call of a compiled function it holds; inside of one, where it could choose nothing, it raises
    with `fullgraph`, and else the function runs uncompiled.
    """
    if torch.compiler.is_compiling():
        raise RuntimeError("use_backend inside a compiled function has no effect; enter it around the function's call")
    request = _Request(_known(name, "use_backend(name)"))
    _open.append(request)
    try:
        yield
    finally:
        _open.remove(request)


def requested() -> str:
    """The backend asked for at this moment: 'native', 'triton', 'reference' or 'auto'."""
    try:
        return _open[-1].name
    except IndexError:
        return _default()


@functools.cache
def _default() -> str:
    return _known(os.environ.get("HYPERCONV_BACKEND") or "auto", "HYPERCONV_BACKEND")


def _known(name: str, source: str) -> str:
    if name not in (*NAMES, "auto"):
        raise ValueError(f"{source} is {name!r}; choose one of {', '.join(NAMES)} or auto")
    return name


def choose(operation: str, *args: object) -> ModuleType:
    """The backend for a call of this operator with these arguments: as requested, or the fastest measured.

    Raises RuntimeError, with the reason, where the requested backend cannot run the call.
    """
    name, device_type = requested(), args[0].device.type
    if name == "auto":
        if device_type == "cuda":
            return MODULES[gpu_choice(operation, args)]
        name = _fastest(operation, device_type, args)
    elif reason := _why_not(name, operation, device_type):
        raise RuntimeError(f"backend {name!r} cannot run {operation} on {device_type}: {reason}")
    _log(operation, device_type, name)
    return MODULES[name]


def _fastest(operation: str, device_type: str, args: tuple) -> str:
    if device_type == "cpu" and _why_not("native", operation, device_type) is None:
        return cpu_rule.choice(operation, args)
    return "reference"


# What `auto` decided on GPUs, by all that a class depends on.
_decided: dict[tuple, str] = {}


def gpu_choice(operation: str, args: tuple) -> str:
    """The kernels that run here where they are trusted with the call, else 'reference'; those measured fastest first."""
    if all(_why_not(name, operation, "cuda") for name in ("triton", "native")):
        return _without_kernels(operation)
    key = _class_key(operation, args)
    return _decided.get(key) or _decide(key, args[0])


def _class_key(operation: str, args: tuple) -> tuple:
    first = args[0]
    products = operation != "bias_gradient"  # sums alone are never taken in TF32
    arithmetic = arithmetic_of(first) if products else DTYPE_NAMES[first.dtype]
    return operation, first.device, arithmetic, *shape_of(operation, args)


@functools.cache
def _without_kernels(operation: str) -> str:
    reasons = "; ".join(f"{name} does not run: {_why_not(name, operation, 'cuda')}" for name in ("triton", "native"))
    _logger.info("%s on cuda: reference, as %s", operation, reasons)
    return "reference"


def _decide(key: tuple, tensor: torch.Tensor) -> str:
    """Decide for a class, once unless the moment is wrong, and say so."""
    operation, device, arithmetic, *shape = key
    layer = layer_of(arithmetic, shape)
    capability = ledger.setting(device)["capability"]
    measured = results.FASTEST.get((capability, arithmetic, operation, str(layer)))
    if measured == "reference":
        name, reason, settled = measured, f"the fastest measured ({results.RESULTS.get(capability)})", True
    else:
        first = next(one for one in (measured, "triton", "native") if one and not _why_not(one, operation, "cuda"))
        trusted, reason, settled = trust.verdict(trust.Kernel(first, operation, layer, arithmetic, device), tensor)
        name = first if trusted else "reference"
    if settled:
        _decided[key] = name
    _log_class(operation, device, layer, arithmetic, name, reason)
    return name


@functools.cache
def _log_class(operation: str, device: torch.device, layer: Layer, arithmetic: str, name: str, reason: str) -> None:
    _logger.info("%s on %s, class %s in %s: %s, %s", operation, device, layer, arithmetic, name, reason)


def _given_up(operation: str, args: tuple, error: Exception) -> bool:
    """Whether `auto` had chosen Triton for a call that Triton could not compile, and now computes without it."""
    if not type(error).__module__.startswith("triton.") or requested() != "auto":
        return False
    key = _class_key(operation, args)
    if _decided.get(key) != "triton":
        return False
    _decided[key] = "reference"
    _, device, arithmetic, *shape = key
    trust.distrust(trust.Kernel("triton", operation, layer_of(arithmetic, shape), arithmetic, device), error)
    return True


@functools.cache
def _native_by_default() -> bool:
    return _default() == "auto" and native.status("cpu") is None


@functools.cache
def _why_not(name: str, operation: str, device_type: str) -> str | None:
    if reason := _status(name, device_type):
        return reason
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    if name == "native" and not has_kernel(f"hyperconv_native::{operation}", device_type.upper()):
        return f"there is no native kernel of it for {device_type}; use 'reference' or 'auto'"
    return None


@functools.cache
def _log(operation: str, device_type: str, name: str) -> None:
    _logger.debug("%s on %s: %s", operation, device_type, name)


def implementation(operation: str):
    """The operator as it runs below autograd: the chosen backend's function."""
    on_cpu = native.quick(operation)

    def run(*args):
        if _simple(args[0]) and cpu_rule.suits_native(operation, args):
            return on_cpu(*args)  # what `choose` would say, at a fraction of the cost of the smallest layers
        try:
            return getattr(choose(operation, *args), operation)(*args)
        except Exception as error:
            if not _given_up(operation, args, error):
                raise
        return getattr(choose(operation, *args), operation)(*args)

    return run


def _simple(tensor: torch.Tensor) -> bool:
    """Whether native computes what `cpu_rule.suits_native` says of it: on a CPU, where nobody asked for another backend."""
    return tensor.is_cpu and not _open and tensor.dtype in cpu_rule.NATIVE and _native_by_default()


_on_cpu_at_once = native.quick(AT_ONCE)
_input_gradient, _parameter_gradients = map(implementation, ("input_gradient", "parameter_gradients"))


def gradients_at_once(grad, input, weight, mask, *geometry) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """What `input_gradient` and `parameter_gradients` give, where one call of both saves something; else None.

    On a CPU one of native's: half of the time of the smallest layers' backward pass is that of calling. On a GPU
    Triton's kernels, which read every value for many taps, and would each mask it once before them.
    """
    if _simple(grad):
        at_once = cpu_rule.both_suit_native(grad, input, weight, geometry)
        return _on_cpu_at_once(grad, input, weight, mask, *geometry) if at_once else None
    by_input = (grad, weight, mask, input.shape[2:], *geometry)
    by_weight = (grad, input, mask, weight.shape[0], weight.shape[3:], *geometry)
    masked_often = mask is not None and weight.shape[3] * weight.shape[4] >= MANY_TAPS
    if not masked_often or layout(grad) != torch.channels_last:
        return None
    if choose("input_gradient", *by_input) is choose("parameter_gradients", *by_weight) is kernels:
        grad = kernels.masked(grad, mask, geometry[-1])
        by_input, by_weight = (grad, weight, None, *by_input[3:]), (grad, input, None, *by_weight[3:])
        return _input_gradient(*by_input), *_parameter_gradients(*by_weight)
    return None


for _name in OPERATIONS:
    for _key in ("CPU", "CUDA"):
        public.impl(_name, implementation(_name), _key)
    public.impl(_name, getattr(reference, _name), "CompositeExplicitAutograd")  # on all other devices

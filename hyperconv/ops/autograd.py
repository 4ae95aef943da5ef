"""Derivatives of the six operators, at every order, by composing the operators themselves.

Two properties keep a gradient penalty cheap. A mask carries no gradient (the sign of an activation is
constant almost everywhere), so differentiating a backward pass does not run back through the forward one.
And a gradient nobody will read is not computed: `needs_input_grad` says only that somebody could.
"""

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hyperconv.ops import backends, reference
from hyperconv.ops.schema import LEAKY_RELU, TANH, operator, public

_transforms_active = torch._C._are_functorch_transforms_active
_derivatives: dict[str, type[torch.autograd.Function]] = {}


def direct(name: str):
    """The public operator, by a shorter way where nothing but its derivative and a device's kernel would run.

    Each trip through the dispatcher costs as much as the smallest layers take to compute.
    """
    op, implementation = operator(name), backends.implementation(name)

    def call(*args):
        if torch.compiler.is_compiling() or not _plain(args):
            return op(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return _derivatives[name].apply(*map(_not_a_leaf, args[:3]), *args[3:], None)
        return implementation(*args)

    return call


def _plain(args: tuple) -> bool:
    """Whether no subclass, mode, transform, trace or autocast region would see a call of these tensors."""
    return (
        all(type(value) in _PLAIN_TYPES for value in args[:4])
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._is_any_autocast_enabled()
        and not _transforms_active()
        and forward_ad._current_level < 0
        and torch._C._get_tracing_state() is None
        and args[0].device.type in ("cpu", "cuda")
    )


_PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter, type(None), int, tuple, list, torch.Size})

_masked_conv2d = direct("masked_conv2d")
_input_gradient = direct("input_gradient")
_weight_gradient = direct("weight_gradient")
_bias_gradient = direct("bias_gradient")
_parameter_gradients = direct("parameter_gradients")

_DEVICES_ONLY = tuple(torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key)) for key in ("CPU", "CUDA"))


class _WeightGradients:
    """Process-wide switch: on CUDA the backward pass runs in threads of its own."""

    paused = 0
    lock = threading.Lock()


@contextlib.contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Backward passes inside compute no gradients of weights and biases of these operators, only of inputs.

    For penalties on input gradients: `with no_weight_gradients(): scores.sum().backward(create_graph=True)`;
    the backward pass of the penalty itself, outside, still reaches the weights. `autograd.grad(scores.sum(),
    images)` skips them without it, since nothing would read their gradients. The switch holds for the whole
    process, and for a compiled function at the time it is traced.
    """
    with _WeightGradients.lock:
        _WeightGradients.paused += 1
    try:
        yield
    finally:
        with _WeightGradients.lock:
            _WeightGradients.paused -= 1


def _wanted(ctx, index: int) -> bool:
    """Whether this backward pass will read the gradient of argument `index`, a tensor as all before it are."""
    if not ctx.needs_input_grad[index]:
        return False
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[index][0])
    except (AttributeError, RuntimeError):  # not in this torch; or a leaf whose gradient was asked for
        return True


def _not_a_leaf(argument):
    """A leaf as a view: asked whether `autograd.grad` wants a leaf, the engine raises an error, which is slow."""
    if isinstance(argument, Tensor) and argument.requires_grad and argument.is_leaf:
        return argument.view_as(argument)
    return argument


def _weight_wanted(ctx, index: int) -> bool:
    return not _WeightGradients.paused and _wanted(ctx, index)


def _convolution_gradients(ctx, grad, input, weight, mask, negative_slope):
    """Gradients of a convolution by input, weight and bias, for the masked gradient of its output."""
    geometry = (*ctx.geometry, negative_slope)
    wants_weight, wants_bias = _weight_wanted(ctx, 1), _weight_wanted(ctx, 2)
    by_input = by_weight = by_bias = None
    if _wanted(ctx, 0):
        by_input = _input_gradient(grad, weight, mask, ctx.input_size, *geometry)
    if wants_weight:
        arguments = (grad, input, mask, ctx.weight_sets, ctx.kernel_size, *geometry)
        if wants_bias:
            by_weight, by_bias = _parameter_gradients(*arguments)
        else:
            by_weight = _weight_gradient(*arguments)
    elif wants_bias:
        by_bias = _bias_gradient(grad, mask, ctx.weight_sets, negative_slope)
    return by_input, by_weight, by_bias


def _remember_convolution(ctx, input, weight, geometry) -> tuple[Tensor | None, Tensor | None]:
    ctx.geometry = geometry
    ctx.input_size, ctx.weight_sets, ctx.kernel_size = input.shape[2:], weight.shape[0], weight.shape[3:]
    return (input if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)


def _setup_conv2d(ctx, args, output):
    input, weight, _, *geometry, ctx.activation, slope = args
    ctx.negative_slope = slope if ctx.activation == LEAKY_RELU else 0.0
    saved = _remember_convolution(ctx, input, weight, geometry)
    ctx.save_for_backward(*saved, output if ctx.activation else None)


def _backward_conv2d(ctx, grad):
    input, weight, output = ctx.saved_tensors
    mask = None
    if ctx.activation == TANH:
        grad = torch.ops.aten.tanh_backward(grad, output)
    elif ctx.activation:
        mask = output.detach()
    return _convolution_gradients(ctx, grad, input, weight, mask, ctx.negative_slope)


def _setup_masked_conv2d(ctx, args, output):
    input, weight, _, mask, *geometry, ctx.negative_slope = args
    ctx.save_for_backward(*_remember_convolution(ctx, input, weight, geometry), mask)


def _backward_masked_conv2d(ctx, grad):
    input, weight, mask = ctx.saved_tensors
    return _convolution_gradients(ctx, grad, input, weight, mask, ctx.negative_slope)


def _setup_input_gradient(ctx, args, output):
    grad, weight, mask, _, *ctx.geometry, ctx.negative_slope = args
    ctx.weight_sets, ctx.kernel_size = weight.shape[0], weight.shape[3:]
    ctx.save_for_backward(
        grad if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None, mask
    )


def _backward_input_gradient(ctx, cotangent):
    grad, weight, mask = ctx.saved_tensors
    geometry = (*ctx.geometry, ctx.negative_slope)
    return (
        _masked_conv2d(cotangent, weight, None, mask, *geometry) if _wanted(ctx, 0) else None,
        _weight_gradient(grad, cotangent, mask, ctx.weight_sets, ctx.kernel_size, *geometry)
        if _weight_wanted(ctx, 1)
        else None,
    )


def _setup_weight_gradient(ctx, args, output):
    grad, input, mask, _, _, *ctx.geometry, ctx.negative_slope = args
    ctx.input_size = input.shape[2:]
    ctx.save_for_backward(
        grad if ctx.needs_input_grad[1] else None, input if ctx.needs_input_grad[0] else None, mask
    )


def _backward_weight_gradient(ctx, cotangent):
    grad, input, mask = ctx.saved_tensors
    geometry = (*ctx.geometry, ctx.negative_slope)
    return (
        _masked_conv2d(input, cotangent, None, mask, *geometry) if _wanted(ctx, 0) else None,
        _input_gradient(grad, cotangent, mask, ctx.input_size, *geometry) if _wanted(ctx, 1) else None,
    )


def _setup_bias_gradient(ctx, args, output):
    grad, mask, _, ctx.negative_slope = args
    ctx.grad_shape = grad.shape
    ctx.save_for_backward(mask)


def _backward_bias_gradient(ctx, cotangent):
    return (_masked_bias(cotangent, ctx.grad_shape, ctx.saved_tensors[0], ctx.negative_slope),)


def _masked_bias(bias: Tensor, shape: torch.Size, mask: Tensor | None, negative_slope: float) -> Tensor:
    """m * bias for all samples and pixels: a masked convolution whose weights are zero."""
    sets, (samples, channels, height, width) = bias.shape[0], shape
    shared = samples // sets if sets else 0
    spread = bias[:, None, :, None, None].expand(sets, shared, channels, height, width)
    return reference.apply_mask(spread.reshape(shape), mask, negative_slope)


def _setup_parameter_gradients(ctx, args, outputs):
    _setup_weight_gradient(ctx, args, outputs)
    ctx.grad_shape = args[0].shape


def _backward_parameter_gradients(ctx, weight_cotangent, bias_cotangent):
    if bias_cotangent is None:
        return _backward_weight_gradient(ctx, weight_cotangent)
    grad, input, mask = ctx.saved_tensors
    if weight_cotangent is None:
        wanted = _wanted(ctx, 0)
        return (_masked_bias(bias_cotangent, ctx.grad_shape, mask, ctx.negative_slope) if wanted else None,)
    geometry = (*ctx.geometry, ctx.negative_slope)
    return (
        _masked_conv2d(input, weight_cotangent, bias_cotangent, mask, *geometry) if _wanted(ctx, 0) else None,
        _input_gradient(grad, weight_cotangent, mask, ctx.input_size, *geometry) if _wanted(ctx, 1) else None,
    )


def _autograd_kernel(name: str, setup, backward):
    """The operator's kernel for the Autograd key: `setup(ctx, args, output)`, `backward(ctx, *grads)`.

    Its derivative takes the keys of the dispatch that is left to do, or None where that is the kernel's call alone.

    `torch.library.register_autograd` does the same but reads the schema anew at every recorded call (torch 2.13),
    and knows the reverse direction only: `torch.func.jvp` would pass it by and report zero, and `torch.func.grad` would
    fail. Here both go to the reference, which PyTorch differentiates in every way it can.
    """
    op, composite, implementation = operator(name), getattr(reference, name), backends.implementation(name)

    def compute(args, keyset):
        if keyset is None:
            return implementation(*args)
        remaining = keyset & torch._C._after_autograd_keyset
        with torch._C._AutoDispatchBelowAutograd():
            # With nothing else in between, the call itself, without another trip through the dispatcher.
            return implementation(*args) if remaining in _DEVICES_ONLY else op.redispatch(remaining, *args)

    class Derivative(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *args_and_keyset):
            *args, keyset = args_and_keyset
            output = compute(args, keyset)
            ctx.set_materialize_grads(False)
            setup(ctx, args, output)
            return output

        @staticmethod
        def backward(ctx, *cotangents):
            grads = backward(ctx, *cotangents) if any(c is not None for c in cotangents) else ()
            return (*grads, *(None,) * (len(ctx.needs_input_grad) - len(grads)))

    def kernel(keyset, *args):
        if forward_ad._current_level >= 0 or _transforms_active():
            return composite(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return Derivative.apply(*map(_not_a_leaf, args[:3]), *args[3:], keyset)
        return compute(args, keyset)

    Derivative.__name__ = Derivative.__qualname__ = f"hyperconv_{name}"
    _derivatives[name] = Derivative
    return kernel


_FORMULAS = {
    "conv2d": (_setup_conv2d, _backward_conv2d),
    "masked_conv2d": (_setup_masked_conv2d, _backward_masked_conv2d),
    "input_gradient": (_setup_input_gradient, _backward_input_gradient),
    "weight_gradient": (_setup_weight_gradient, _backward_weight_gradient),
    "bias_gradient": (_setup_bias_gradient, _backward_bias_gradient),
    "parameter_gradients": (_setup_parameter_gradients, _backward_parameter_gradients),
}
for _name, _formula in _FORMULAS.items():
    public.impl(_name, _autograd_kernel(_name, *_formula), "Autograd", with_keyset=True)

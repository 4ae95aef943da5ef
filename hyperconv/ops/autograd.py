"""Derivatives of the five operators, at every order, by composing the operators themselves.

Two properties keep a gradient penalty cheap. A mask carries no gradient (the sign of an activation is constant almost
everywhere), so differentiating a backward pass does not run back through the forward one. And a gradient nobody will
read is not computed: `needs_input_grad` alone says only that a tensor could receive one.
"""

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hyperconv.ops import reference
from hyperconv.ops.schema import LEAKY_RELU, OPERATIONS, TANH, operator

_masked_conv2d = operator("masked_conv2d")
_input_gradient = operator("input_gradient")
_weight_gradient = operator("weight_gradient")
_bias_gradient = operator("bias_gradient")


class _WeightGradients:
    """Process-wide switch: on CUDA the backward pass runs in threads of its own."""

    paused = 0
    lock = threading.Lock()


@contextlib.contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Backward passes inside compute no gradients of weights and biases of these operators, only of inputs.

    For penalties on input gradients: `with no_weight_gradients(): autograd.grad(scores, images, create_graph=True)`;
    the backward pass of the penalty itself, outside, still reaches the weights. Weights that nothing else would
    read from are skipped without it; it is needed where they are leaves that accumulate gradients.
    The switch holds for the whole process, and for a compiled function at the time it is traced.
    """
    with _WeightGradients.lock:
        _WeightGradients.paused += 1
    try:
        yield
    finally:
        with _WeightGradients.lock:
            _WeightGradients.paused -= 1


def _remember(ctx, inputs: tuple) -> None:
    """Note which arguments are tensors: `ctx.next_functions` has one entry for each of those, in order."""
    ctx.set_materialize_grads(False)
    ctx.tensor_arguments = [index for index, value in enumerate(inputs) if isinstance(value, Tensor)]


def _wanted(ctx, index: int) -> bool:
    """Whether this backward pass will read the gradient of argument `index`."""
    if not ctx.needs_input_grad[index]:
        return False
    node = ctx.next_functions[ctx.tensor_arguments.index(index)][0]
    return _will_execute(node)


def _will_execute(node) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)
    except (AttributeError, RuntimeError):  # not in this torch; or a leaf whose gradient was asked for
        return True


def _weight_wanted(ctx, index: int) -> bool:
    return not _WeightGradients.paused and _wanted(ctx, index)


def _convolution_gradients(ctx, grad, input, weight, mask, negative_slope):
    """Gradients of a convolution by input, weight and bias, for the masked gradient of its output."""
    geometry = (*ctx.geometry, negative_slope)
    return (
        _input_gradient(grad, weight, mask, ctx.input_size, *geometry) if _wanted(ctx, 0) else None,
        _weight_gradient(grad, input, mask, ctx.weight_sets, ctx.kernel_size, *geometry)
        if _weight_wanted(ctx, 1)
        else None,
        _bias_gradient(grad, mask, ctx.weight_sets, negative_slope) if _weight_wanted(ctx, 2) else None,
    )


def _remember_convolution(ctx, input, weight, geometry) -> tuple[Tensor | None, Tensor | None]:
    ctx.geometry = geometry
    ctx.input_size, ctx.weight_sets, ctx.kernel_size = input.shape[2:], weight.shape[0], weight.shape[3:]
    return (input if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)


def _setup_conv2d(ctx, inputs, output):
    input, weight, _, *geometry, ctx.activation, slope = inputs
    _remember(ctx, inputs)
    ctx.negative_slope = slope if ctx.activation == LEAKY_RELU else 0.0
    saved = _remember_convolution(ctx, input, weight, geometry)
    ctx.save_for_backward(*saved, output if ctx.activation else None)


def _backward_conv2d(ctx, grad):
    input, weight, output = ctx.saved_tensors
    if grad is None:
        return (None,) * 9
    mask = None
    if ctx.activation == TANH:
        grad = torch.ops.aten.tanh_backward(grad, output)
    elif ctx.activation:
        mask = output.detach()
    return (*_convolution_gradients(ctx, grad, input, weight, mask, ctx.negative_slope), *(None,) * 6)


def _setup_masked_conv2d(ctx, inputs, output):
    input, weight, _, mask, *geometry, ctx.negative_slope = inputs
    _remember(ctx, inputs)
    ctx.save_for_backward(*_remember_convolution(ctx, input, weight, geometry), mask)


def _backward_masked_conv2d(ctx, grad):
    input, weight, mask = ctx.saved_tensors
    if grad is None:
        return (None,) * 9
    return (*_convolution_gradients(ctx, grad, input, weight, mask, ctx.negative_slope), *(None,) * 6)


def _setup_input_gradient(ctx, inputs, output):
    grad, weight, mask, _, *ctx.geometry, ctx.negative_slope = inputs
    _remember(ctx, inputs)
    ctx.weight_sets, ctx.kernel_size = weight.shape[0], weight.shape[3:]
    ctx.save_for_backward(
        grad if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None, mask
    )


def _backward_input_gradient(ctx, cotangent):
    grad, weight, mask = ctx.saved_tensors
    if cotangent is None:
        return (None,) * 9
    geometry = (*ctx.geometry, ctx.negative_slope)
    return (
        _masked_conv2d(cotangent, weight, None, mask, *geometry) if _wanted(ctx, 0) else None,
        _weight_gradient(grad, cotangent, mask, ctx.weight_sets, ctx.kernel_size, *geometry)
        if _weight_wanted(ctx, 1)
        else None,
        *(None,) * 7,
    )


def _setup_weight_gradient(ctx, inputs, output):
    grad, input, mask, _, _, *ctx.geometry, ctx.negative_slope = inputs
    _remember(ctx, inputs)
    ctx.input_size = input.shape[2:]
    ctx.save_for_backward(
        grad if ctx.needs_input_grad[1] else None, input if ctx.needs_input_grad[0] else None, mask
    )


def _backward_weight_gradient(ctx, cotangent):
    grad, input, mask = ctx.saved_tensors
    if cotangent is None:
        return (None,) * 10
    geometry = (*ctx.geometry, ctx.negative_slope)
    return (
        _masked_conv2d(input, cotangent, None, mask, *geometry) if _wanted(ctx, 0) else None,
        _input_gradient(grad, cotangent, mask, ctx.input_size, *geometry) if _wanted(ctx, 1) else None,
        *(None,) * 8,
    )


def _setup_bias_gradient(ctx, inputs, output):
    grad, mask, _, ctx.negative_slope = inputs
    _remember(ctx, inputs)
    ctx.grad_shape = grad.shape
    ctx.save_for_backward(mask)


def _backward_bias_gradient(ctx, cotangent):
    if cotangent is None or not _wanted(ctx, 0):
        return (None,) * 4
    sets, (samples, channels, height, width) = cotangent.shape[0], ctx.grad_shape
    shared = samples // sets if sets else 0
    spread = cotangent[:, None, :, None, None].expand(sets, shared, channels, height, width)
    masked = reference.apply_mask(spread.reshape(ctx.grad_shape), ctx.saved_tensors[0], ctx.negative_slope)
    return masked, None, None, None


class _ForwardModeLibrary(torch.library.Library):
    """Registers autograd kernels that leave forward mode and `torch.func` derivatives to the reference.

    A registered formula knows the reverse direction only: `torch.func.jvp` would pass it by and report zero, and
    `torch.func.grad` would fail.
    """

    def impl(self, op_name, fn, dispatch_key="", **options):
        if dispatch_key == "Autograd":
            fn = _composed_under_transforms(getattr(reference, op_name), fn)
        super().impl(op_name, fn, dispatch_key, **options)


def _composed_under_transforms(composite, formula):
    transforms_active = torch._C._are_functorch_transforms_active

    def kernel(keyset, *args):
        if forward_ad._current_level >= 0 or transforms_active():
            return composite(*args)
        return formula(keyset, *args)

    return kernel


_library = _ForwardModeLibrary("hyperconv", "FRAGMENT")
for _name in OPERATIONS:
    torch.library.register_autograd(
        f"hyperconv::{_name}",
        globals()[f"_backward_{_name}"],
        setup_context=globals()[f"_setup_{_name}"],
        lib=_library,
    )

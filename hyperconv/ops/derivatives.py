"""The derivatives of the six operators, at every order, as compositions of the operators themselves.

Two properties keep a gradient penalty cheap. A mask carries no gradient (the sign of an activation is
constant almost everywhere), so differentiating a backward pass does not run back through the forward one.
And a gradient nobody will read is not computed: `needs_input_grad` says only that somebody could. (But a
bias's is computed with its weight's, at little cost.)
"""

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from hyperconv.activations import LEAKY_RELU, TANH
from hyperconv.memory_format import laid_out, layout
from hyperconv.ops import backends, reference, shortcut
from hyperconv.ops.shortcut import direct

_masked_conv2d = direct("masked_conv2d")
_input_gradient = direct("input_gradient")
_weight_gradient = direct("weight_gradient")
_bias_gradient = direct("bias_gradient")
_parameter_gradients = direct("parameter_gradients")


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
    process, and for a compiled function at the time it is traced. The bias of `hyper_conv_transpose2d`, which PyTorch
    adds, gets its gradient all the same.
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


def _weight_wanted(ctx, index: int) -> bool:
    return not _WeightGradients.paused and _wanted(ctx, index)


def _remember(ctx, first, second, geometry) -> tuple[Tensor | None, Tensor | None]:
    """Keep shapes and settings; of two factors, return those to save: each is read by the gradient of the other."""
    ctx.shapes, ctx.geometry = (first.shape, second.shape), geometry
    wants_first, wants_second, *_ = ctx.needs_input_grad
    return first if wants_second else None, second if wants_first else None


def _setup_conv2d(ctx, tensors, settings, output):
    input, weight, _ = tensors
    *geometry, ctx.activation, slope = settings
    slope = slope if ctx.activation == LEAKY_RELU else 0.0
    factors = _remember(ctx, input, weight, (*geometry, slope))
    ctx.save_for_backward(*factors, output if ctx.activation else None)
    ctx.layout = layout(input)


def _backward_conv2d(ctx, grad):
    input, weight, output = ctx.saved_tensors
    mask = None
    if ctx.activation == TANH:
        grad = torch.ops.aten.tanh_backward(grad, output)
    elif ctx.activation:
        mask = output.detach() if torch.is_grad_enabled() else output
    return _convolution_gradients(ctx, grad, input, weight, mask)


def _setup_masked_conv2d(ctx, tensors, geometry, output):
    input, weight, _, mask = tensors
    ctx.save_for_backward(*_remember(ctx, input, weight, geometry), mask)
    ctx.layout = layout(input)


def _backward_masked_conv2d(ctx, grad):
    return _convolution_gradients(ctx, grad, *ctx.saved_tensors)


def _laid_out(image: Tensor, layout: torch.memory_format) -> Tensor:
    """In channels_last where that is asked for; else as it is."""
    return laid_out(image, layout) if layout == torch.channels_last else image


def _convolution_gradients(ctx, grad, input, weight, mask):
    """Gradients of a convolution by input, weight and bias, for the masked gradient of its output.

    In channels_last where the input is, as PyTorch's are, also where the gradient came otherwise, or is of one channel
    and has no memory format: all layers before this one would read two of them.
    """
    grad = _laid_out(grad, ctx.layout)
    needs_bias = ctx.needs_input_grad[2]
    wants_input, wants_weight = _wanted(ctx, 0), _weight_wanted(ctx, 1)
    all_read = wants_input and wants_weight and needs_bias
    if all_read and not torch.is_grad_enabled() and shortcut.plain((grad, input, weight, mask)):
        at_once = backends.gradients_at_once(grad, input, weight, mask, *ctx.geometry)
        if at_once is not None:
            by_input, *by_parameters = at_once
            return _laid_out(by_input, ctx.layout), *by_parameters

    (_, _, *input_size), (weight_sets, _, _, *kernel_size) = ctx.shapes
    by_input = by_weight = by_bias = None
    if wants_input:
        by_input = _laid_out(_input_gradient(grad, weight, mask, input_size, *ctx.geometry), ctx.layout)
    if wants_weight:
        arguments = (grad, input, mask, weight_sets, kernel_size, *ctx.geometry)
        if needs_bias:  # whoever reads the weight's reads the bias's, which comes with it at little cost
            by_weight, by_bias = _parameter_gradients(*arguments)
        else:
            by_weight = _weight_gradient(*arguments)
    elif _weight_wanted(ctx, 2):
        by_bias = _bias_gradient(grad, mask, weight_sets, ctx.geometry[-1])
    return by_input, by_weight, by_bias


def _setup_input_gradient(ctx, tensors, settings, output):
    grad, weight, mask = tensors
    _, *geometry = settings
    ctx.save_for_backward(*_remember(ctx, grad, weight, geometry), mask)


def _backward_input_gradient(ctx, cotangent):
    grad, weight, mask = ctx.saved_tensors
    by_grad = by_weight = None
    if _wanted(ctx, 0):
        by_grad = _masked_conv2d(cotangent, weight, None, mask, *ctx.geometry)
    if _weight_wanted(ctx, 1):
        weight_sets, _, _, *kernel_size = ctx.shapes[1]
        by_weight = _weight_gradient(grad, cotangent, mask, weight_sets, kernel_size, *ctx.geometry)
    return by_grad, by_weight


def _setup_weight_gradient(ctx, tensors, settings, output):
    grad, input, mask = tensors
    _, _, *geometry = settings
    ctx.save_for_backward(*_remember(ctx, grad, input, geometry), mask)


def _backward_weight_gradient(ctx, cotangent, bias_cotangent=None):
    """Of a gradient by weight, and by bias where there is a second output."""
    grad, input, mask = ctx.saved_tensors
    by_grad = by_input = None
    if _wanted(ctx, 0):
        by_grad = _masked_conv2d(input, cotangent, bias_cotangent, mask, *ctx.geometry)
    if _wanted(ctx, 1):
        by_input = _input_gradient(grad, cotangent, mask, ctx.shapes[1][2:], *ctx.geometry)
    return by_grad, by_input


def _setup_bias_gradient(ctx, tensors, settings, output):
    grad, mask = tensors
    _, ctx.negative_slope = settings
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


def _backward_parameter_gradients(ctx, weight_cotangent, bias_cotangent):
    if weight_cotangent is not None:
        return _backward_weight_gradient(ctx, weight_cotangent, bias_cotangent)
    mask = ctx.saved_tensors[2]
    wanted = _wanted(ctx, 0)
    return (_masked_bias(bias_cotangent, ctx.shapes[0], mask, ctx.geometry[-1]) if wanted else None,)


FORMULAS = {
    "conv2d": (_setup_conv2d, _backward_conv2d),
    "masked_conv2d": (_setup_masked_conv2d, _backward_masked_conv2d),
    "input_gradient": (_setup_input_gradient, _backward_input_gradient),
    "weight_gradient": (_setup_weight_gradient, _backward_weight_gradient),
    "bias_gradient": (_setup_bias_gradient, _backward_bias_gradient),
    "parameter_gradients": (_setup_weight_gradient, _backward_parameter_gradients),
}
"""Per operator `setup(ctx, tensors, settings, output)` and `backward(ctx, *grads)`."""

"""Derivatives of the six operators, at every order, by composing the operators themselves.

Two properties keep a gradient penalty cheap. A mask carries no gradient (the sign of an activation is
constant almost everywhere), so differentiating a backward pass does not run back through the forward one.
And a gradient nobody will read is not computed: `needs_input_grad` says only that somebody could. (But a
bias's is computed with its weight's, at little cost.)
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hyperconv.ops import backends, reference
from hyperconv.ops.schema import LEAKY_RELU, TANH, operator, public

_transforms_active = torch._C._are_functorch_transforms_active
_unwrap = torch._C._functorch.unwrap_if_dead
_record: dict[str, Callable] = {}

# How many arguments come first that are tensors, or None.
_TENSORS = {
    "conv2d": 3, "masked_conv2d": 4, "input_gradient": 3, "weight_gradient": 3, "bias_gradient": 2,
    "parameter_gradients": 3,
}  # fmt: skip


def direct(name: str):
    """The public operator, by a shorter way where nothing but its derivative and a device's kernel would run.

    Each trip through the dispatcher costs as much as the smallest layers take to compute.
    """
    op, implementation, count = operator(name), backends.implementation(name), _TENSORS[name]

    def call(*args):
        tensors = args[:count]
        if torch.compiler.is_compiling() or not _plain(tensors):
            return op(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*tensors):
            return _record[name](args)
        return implementation(*args)

    return call


def _plain(tensors: tuple) -> bool:
    """Whether no subclass, mode, transform, trace or autocast region would see a call of these tensors."""
    for tensor in tensors:
        if type(tensor) not in _PLAIN_TYPES:
            return False
    first = tensors[0]
    return (
        (first.is_cpu or first.is_cuda)
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._is_any_autocast_enabled()
        and not _transforms_active()
        and forward_ad._current_level < 0
        and torch._C._get_tracing_state() is None
    )


_PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter, type(None)})

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
    """A leaf as an alias: asked whether `autograd.grad` wants a leaf, the engine raises an error, which is slow.

    Indexed by `...`, because that is the one view whose derivative does nothing.
    """
    if argument is not None and argument.requires_grad and argument.is_leaf:
        return argument[...]
    return argument


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


def _backward_conv2d(ctx, grad):
    input, weight, output = ctx.saved_tensors
    mask = None
    if ctx.activation == TANH:
        grad = torch.ops.aten.tanh_backward(grad, output)
    elif ctx.activation:
        mask = output.detach()
    return _convolution_gradients(ctx, grad, input, weight, mask)


def _setup_masked_conv2d(ctx, tensors, geometry, output):
    input, weight, _, mask = tensors
    ctx.save_for_backward(*_remember(ctx, input, weight, geometry), mask)


def _backward_masked_conv2d(ctx, grad):
    return _convolution_gradients(ctx, grad, *ctx.saved_tensors)


def _convolution_gradients(ctx, grad, input, weight, mask):
    """Gradients of a convolution by input, weight and bias, for the masked gradient of its output."""
    needs_bias = ctx.needs_input_grad[2]
    wants_input, wants_weight = _wanted(ctx, 0), _weight_wanted(ctx, 1)
    all_read = wants_input and wants_weight and needs_bias
    if all_read and not torch.is_grad_enabled() and _plain((grad, input, weight, mask)):
        at_once = backends.gradients_at_once(grad, input, weight, mask, *ctx.geometry)
        if at_once is not None:
            return at_once

    (_, _, *input_size), (weight_sets, _, _, *kernel_size) = ctx.shapes
    by_input = by_weight = by_bias = None
    if wants_input:
        by_input = _input_gradient(grad, weight, mask, input_size, *ctx.geometry)
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


def _autograd_kernel(name: str, setup, backward):
    """The operator's kernel for the Autograd key: `setup(ctx, tensors, settings, output)`, `backward(ctx, *grads)`.

    Its derivative takes the keys of the dispatch that is left to do, or None where that is the kernel's call alone.

    `torch.library.register_autograd` does the same but reads the schema anew at every recorded call (torch 2.13),
    and knows the reverse direction only: `torch.func.jvp` would pass it by and report zero, and `torch.func.grad` would
    fail. Here both go to the reference, which PyTorch differentiates in every way it can.
    """
    op, composite, implementation = operator(name), getattr(reference, name), backends.implementation(name)
    count = _TENSORS[name]
    nothing = (None,) * (count + 2)

    def below_autograd(args, keyset):
        remaining = keyset & torch._C._after_autograd_keyset
        with torch._C._AutoDispatchBelowAutograd():
            # With nothing else in between, the call itself, without another trip through the dispatcher.
            return implementation(*args) if remaining in _DEVICES_ONLY else op.redispatch(remaining, *args)

    class Derivative(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors_args_keyset):
            *tensors, args, keyset = tensors_args_keyset
            output = implementation(*args) if keyset is None else below_autograd(args, keyset)
            ctx.set_materialize_grads(False)
            setup(ctx, tensors, args[count:], output)
            return output

        @staticmethod
        def backward(ctx, *cotangents):
            if cotangents[0] is None is cotangents[-1]:
                return nothing
            grads = backward(ctx, *cotangents)
            return (*grads, *nothing[len(grads) :])

    # `Derivative.apply` without its part in Python, which serves transforms of torch.func; those never come here.
    apply = super(torch.autograd.Function, Derivative).apply

    def record(args, keyset=None):
        first, second, *others = [tensor if tensor is None else _unwrap(tensor) for tensor in args[:count]]
        return apply(_not_a_leaf(first), _not_a_leaf(second), *others, args, keyset)

    def kernel(keyset, *args):
        if forward_ad._current_level >= 0 or _transforms_active():
            return composite(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return record(args, keyset)
        return below_autograd(args, keyset)

    Derivative.__name__ = Derivative.__qualname__ = f"hyperconv_{name}"
    _record[name] = record
    return kernel


_FORMULAS = {
    "conv2d": (_setup_conv2d, _backward_conv2d),
    "masked_conv2d": (_setup_masked_conv2d, _backward_masked_conv2d),
    "input_gradient": (_setup_input_gradient, _backward_input_gradient),
    "weight_gradient": (_setup_weight_gradient, _backward_weight_gradient),
    "bias_gradient": (_setup_bias_gradient, _backward_bias_gradient),
    "parameter_gradients": (_setup_weight_gradient, _backward_parameter_gradients),
}
for _name, _formula in _FORMULAS.items():
    public.impl(_name, _autograd_kernel(_name, *_formula), "Autograd", with_keyset=True)

"""The six operators of per-sample convolution, defined once in two namespaces.

`hyperconv` is the public family, with derivatives, vmap, autocast and fake tensors; `hyperconv_native` has
the same schemas and one more, `AT_ONCE`, and the binaries in csrc/ add kernels to it.

Shapes: input (N, C_in, H, W); weight (B, C_out, C_in/groups, kH, kW), N a multiple of B, and sample n uses
weight set n // (N // B); bias (B, C_out); grad and mask (N, C_out, H_out, W_out). `mask` is the output y of a
ReLU or LeakyReLU layer and stands for m = 1 where y > 0 and `negative_slope` elsewhere (1 everywhere without
a mask). With C the convolution:

    conv2d          = activation(C(input, weight) + bias)
    masked_conv2d   = m * (C(input, weight) + bias)
    input_gradient  = the gradient of C by its input, applied to m * grad
    weight_gradient = the gradient of C by its weight, applied to m * grad
    bias_gradient   = the sum of m * grad over pixels and the samples of each set
    parameter_gradients = (weight_gradient, bias_gradient), in one pass over grad and mask

The derivatives of each are compositions of the others, so the family is closed at every order.
A channels_last input (or grad) gives a channels_last output; weight and bias gradients are contiguous. The derivative by
a channels_last input of a convolution is channels_last, whatever the gradient was that came.
"""

import torch
from torch import Tensor

from hyperconv.activations import NONE
from hyperconv.memory_format import layout

_GEOMETRY = "int[2] stride, int[2] padding, int[2] dilation, int groups"
SCHEMAS = {
    "conv2d": "(Tensor input, Tensor weight, Tensor? bias, "
    f"{_GEOMETRY}, int activation, float negative_slope) -> Tensor",
    "masked_conv2d": "(Tensor input, Tensor weight, Tensor? bias, Tensor? mask, "
    f"{_GEOMETRY}, float negative_slope) -> Tensor",
    "input_gradient": "(Tensor grad, Tensor weight, Tensor? mask, SymInt[2] input_size, "
    f"{_GEOMETRY}, float negative_slope) -> Tensor",
    "weight_gradient": "(Tensor grad, Tensor input, Tensor? mask, SymInt weight_sets, SymInt[2] kernel_size, "
    f"{_GEOMETRY}, float negative_slope) -> Tensor",
    "bias_gradient": "(Tensor grad, Tensor? mask, SymInt weight_sets, float negative_slope) -> Tensor",
    "parameter_gradients": "(Tensor grad, Tensor input, Tensor? mask, SymInt weight_sets, SymInt[2] kernel_size, "
    f"{_GEOMETRY}, float negative_slope) -> (Tensor, Tensor)",
}
OPERATIONS = tuple(SCHEMAS)

AT_ONCE = "gradients_at_once"
"""The native libraries' (input_gradient, *parameter_gradients) in one call, on a CPU; `native` has it alone."""
_AT_ONCE_SCHEMA = (
    f"{AT_ONCE}(Tensor grad, Tensor input, Tensor weight, Tensor? mask, {_GEOMETRY}, float negative_slope) "
    "-> (Tensor, Tensor, Tensor)"
)

# needs_exact_strides: a compiler hands the kernels the strides it traced, those of views and expansions too.
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)

public = torch.library.Library("hyperconv", "DEF")
native = torch.library.Library("hyperconv_native", "DEF")
for _name, _schema in SCHEMAS.items():
    public.define(_name + _schema, tags=_TAGS)
    native.define(_name + _schema)
native.define(_AT_ONCE_SCHEMA)


def operator(name: str) -> torch._ops.OpOverload:
    """The public operator of this name."""
    return getattr(torch.ops.hyperconv, name).default


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels a convolution leaves of `size` along one axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _empty(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    shape = (like.shape[0], channels, height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout(like))


def _fake_conv2d(input, weight, bias, stride, padding, dilation, groups, activation, negative_slope):
    sizes = zip(input.shape[2:], weight.shape[3:], stride, padding, dilation, strict=True)
    return _empty(input, weight.shape[1], *(output_size(*axis) for axis in sizes))


def _fake_masked_conv2d(input, weight, bias, mask, stride, padding, dilation, groups, negative_slope):
    return _fake_conv2d(input, weight, bias, stride, padding, dilation, groups, NONE, negative_slope)


def _fake_input_gradient(grad, weight, mask, input_size, stride, padding, dilation, groups, negative_slope):
    return _empty(grad, weight.shape[2] * groups, *input_size)


def _fake_weight_gradient(
    grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups, negative_slope
):
    return grad.new_empty((weight_sets, grad.shape[1], input.shape[1] // groups, *kernel_size))


def _fake_bias_gradient(grad, mask, weight_sets, negative_slope):
    return grad.new_empty((weight_sets, grad.shape[1]))


def _fake_parameter_gradients(
    grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups, negative_slope
):
    weight_shape = (weight_sets, grad.shape[1], input.shape[1] // groups, *kernel_size)
    return grad.new_empty(weight_shape), grad.new_empty(weight_shape[:2])


for _name in OPERATIONS:
    torch.library.register_fake(f"hyperconv::{_name}", globals()[f"_fake_{_name}"], lib=public)

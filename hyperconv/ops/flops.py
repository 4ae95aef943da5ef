"""What `torch.utils.flop_counter` counts for the operators: two for each product, as for PyTorch's convolutions."""

from math import prod

import torch
from torch.utils.flop_counter import register_flop_formula

_operators = torch.ops.hyperconv


@register_flop_formula([_operators.conv2d, _operators.masked_conv2d])
def _convolution(input, weight, *rest, out_shape, **options) -> int:
    return 2 * prod(out_shape) * prod(weight[2:])


@register_flop_formula(_operators.input_gradient)
def _input_gradient(grad, weight, *rest, **options) -> int:
    return 2 * prod(grad) * prod(weight[2:])


@register_flop_formula([_operators.weight_gradient, _operators.parameter_gradients])
def _weight_gradient(grad, *rest, out_shape, **options) -> int:
    weight = out_shape if isinstance(out_shape, torch.Size) else out_shape[0]
    return 2 * prod(grad) * prod(weight[2:])


@register_flop_formula(_operators.bias_gradient)
def _bias_gradient(*arguments, **options) -> int:
    return 0

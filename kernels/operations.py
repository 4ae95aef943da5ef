"""The operators of `hyperconv.ops.schema` on Triton's kernels.

A call looks its plan up by all that a compiled kernel depends on, allocates the result, and sends the plan's launches
off on the current stream.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hyperconv.kernels.accumulation import Accumulation, BiasSum
from hyperconv.kernels.call import arithmetic, describe
from hyperconv.kernels.correlation import (
    MASK_RESULT,
    MASK_SOURCE,
    NO_MASK,
    Correlation,
    forward_axis,
    gradient_axes,
)

_RELU, _LEAKY_RELU, _TANH = 1, 2, 3
_plans: dict[tuple, object] = {}


def forget_plans() -> None:
    """Make every plan anew at its next call: the table of tiles has changed."""
    _plans.clear()


def _plan(key: tuple, tensor: Tensor, make: Callable[[], object]):
    key = (*key, tensor.dtype, tensor.device, arithmetic(tensor))
    found = _plans.get(key)
    if found is None:
        found = _plans[key] = make()
    return found


def _on(tensor: Tensor):
    """The tensor's device as the current one, where launches go."""
    return torch.cuda.device_of(tensor)


def _new(like: Tensor, *shape: int) -> Tensor:
    """A result in the memory format of the tensor it is computed from."""
    channels_last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def conv2d(input, weight, bias, stride, padding, dilation, groups, activation, negative_slope) -> Tensor:
    # A plain tile of float64 has no tanh of its own accuracy.
    after = activation == _TANH and input.dtype == torch.float64
    output = _convolve(
        input, weight, bias, None, stride, padding, dilation, groups, 0 if after else activation, negative_slope
    )
    return output.tanh_() if after else output


def masked_conv2d(input, weight, bias, mask, stride, padding, dilation, groups, negative_slope) -> Tensor:
    return _convolve(input, weight, bias, mask, stride, padding, dilation, groups, 0, negative_slope)


def _convolve(input, weight, bias, mask, stride, padding, dilation, groups, activation, negative_slope) -> Tensor:
    sizes = [
        (size + 2 * p - d * (taps - 1) - 1) // s + 1
        for size, taps, s, p, d in zip(input.shape[2:], weight.shape[3:], stride, padding, dilation, strict=True)
    ]
    output = _new(input, input.shape[0], weight.shape[1], *sizes)
    if output.numel() == 0:
        return output

    def make() -> Correlation:
        rows, columns = map(forward_axis, sizes, weight.shape[3:], stride, padding, dilation)
        mask_at = NO_MASK if mask is None else MASK_RESULT
        return Correlation(
            rows, columns, input, weight, bias, mask, output, groups, False, mask_at, activation, negative_slope
        )

    key = ("convolve", *map(describe, (input, weight, bias, mask)), *stride, *padding, *dilation, groups, activation,
           negative_slope)
    with _on(input):
        _plan(key, input, make)(input, weight, bias, mask, output)
    return output


def input_gradient(
    grad, weight, mask, input_size, stride, padding, dilation, groups, negative_slope
) -> Tensor:
    result = _new(grad, grad.shape[0], weight.shape[2] * groups, *input_size)
    if result.numel() == 0:
        return result

    def make() -> list[Correlation]:
        axes = [gradient_axes(*axis) for axis in zip(input_size, weight.shape[3:], stride, padding, dilation, strict=True)]
        mask_at = NO_MASK if mask is None else MASK_SOURCE
        return [
            Correlation(rows, columns, grad, weight, None, mask, result, groups, True, mask_at, 0, negative_slope)
            for rows in axes[0]
            for columns in axes[1]
        ]

    key = ("input_gradient", *map(describe, (grad, weight, mask)), *input_size, *stride, *padding, *dilation, groups,
           negative_slope)
    with _on(grad):
        for correlation in _plan(key, grad, make):
            correlation(grad, weight, None, mask, result)
    return result


def weight_gradient(
    grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups, negative_slope
) -> Tensor:
    geometry = (stride, padding, dilation, groups, negative_slope)
    return _parameter_gradients(grad, input, mask, weight_sets, kernel_size, *geometry, False)[0]


def parameter_gradients(
    grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups, negative_slope
) -> tuple[Tensor, Tensor]:
    geometry = (stride, padding, dilation, groups, negative_slope)
    return _parameter_gradients(grad, input, mask, weight_sets, kernel_size, *geometry, True)


def _parameter_gradients(
    grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups, negative_slope, with_bias
) -> tuple[Tensor, Tensor | None]:
    weight = grad.new_empty((weight_sets, grad.shape[1], input.shape[1] // groups, *kernel_size))
    bias = grad.new_empty((weight_sets, grad.shape[1])) if with_bias else None
    if grad.numel() == 0 or weight.numel() == 0:
        return weight.zero_(), bias.zero_() if with_bias else None

    def make() -> Accumulation:
        return Accumulation(grad, input, mask, weight, stride, padding, dilation, groups, negative_slope, with_bias)

    key = ("parameter_gradients", *map(describe, (grad, input, mask)), weight_sets, *kernel_size, *stride, *padding,
           *dilation, groups, negative_slope, with_bias)
    with _on(grad):
        _plan(key, grad, make)(grad, input, mask, weight, bias)
    return weight, bias


def bias_gradient(grad, mask, weight_sets, negative_slope) -> Tensor:
    result = grad.new_empty((weight_sets, grad.shape[1]))
    if grad.numel() == 0:
        return result.zero_()
    key = ("bias_gradient", *map(describe, (grad, mask)), weight_sets, negative_slope)
    with _on(grad):
        _plan(key, grad, lambda: BiasSum(grad, mask, weight_sets, negative_slope))(grad, mask, result)
    return result

"""The definition of right: the six operators as grouped convolution in plain PyTorch.

One call of PyTorch's convolution with groups = B * groups serves all weight sets; samples that share a set go
along the batch axis. Everything here is differentiable PyTorch code, so it also stands in for the operators
under forward-mode differentiation and `torch.func` transforms. Arguments and shapes: `hyperconv.ops.schema`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.activations import LEAKY_RELU, RELU, TANH
from hyperconv.memory_format import laid_out, layout

Pair = tuple[int, int]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    activation: int,
    negative_slope: float,
) -> Tensor:
    output = _convolve(input, weight, bias, stride, padding, dilation, groups)
    if activation == RELU:
        return torch.relu(output)
    if activation == LEAKY_RELU:
        return F.leaky_relu(output, negative_slope)
    return torch.tanh(output) if activation == TANH else output


def masked_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    negative_slope: float,
) -> Tensor:
    return apply_mask(_convolve(input, weight, bias, stride, padding, dilation, groups), mask, negative_slope)


def input_gradient(
    grad: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    input_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    negative_slope: float,
) -> Tensor:
    weight = _at_least_one_set(weight)
    sets = weight.shape[0]
    folded = _fold(apply_mask(grad, mask, negative_slope), sets)
    shape_only = folded.new_empty((folded.shape[0], sets * groups * weight.shape[2], *input_size))
    geometry = (stride, padding, dilation, False, (0, 0), sets * groups)
    result = torch.ops.aten.convolution_backward(
        folded, shape_only, weight.flatten(0, 1), None, *geometry, (True, False, False)
    )[0]
    return laid_out(_unfold(result, sets), layout(grad))


def weight_gradient(
    grad: Tensor,
    input: Tensor,
    mask: Tensor | None,
    weight_sets: int,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    negative_slope: float,
) -> Tensor:
    channels = (grad.shape[1], input.shape[1] // groups)
    if grad.shape[0] == 0:
        return grad.new_zeros((weight_sets, *channels, *kernel_size))
    folded = _fold(apply_mask(grad, mask, negative_slope), weight_sets)
    shape_only = folded.new_empty((weight_sets * channels[0], channels[1], *kernel_size))
    geometry = (stride, padding, dilation, False, (0, 0), weight_sets * groups)
    result = torch.ops.aten.convolution_backward(
        folded, _fold(input, weight_sets), shape_only, None, *geometry, (False, True, False)
    )[1]
    if result.is_cpu and result.dtype == torch.bfloat16:  # whose oneDNN leaves them as the memory was, in torch 2.13
        rows, columns = map(_unread, grad.shape[2:], input.shape[2:], kernel_size, stride, padding, dilation)
        if any(rows + columns):
            result = result.masked_fill(torch.tensor(rows)[:, None] | torch.tensor(columns), 0.0)
    return result.contiguous().reshape(weight_sets, *channels, *kernel_size)


def _unread(outputs: int, pixels: int, taps: int, stride: int, padding: int, dilation: int) -> list[bool]:
    """Whether each tap along an axis reads nothing but padding."""
    return [
        not any(0 <= output * stride + tap * dilation - padding < pixels for output in range(outputs))
        for tap in range(taps)
    ]


def bias_gradient(grad: Tensor, mask: Tensor | None, weight_sets: int, negative_slope: float) -> Tensor:
    if grad.shape[0] == 0:
        return grad.new_zeros((weight_sets, grad.shape[1]))
    return _by_set(apply_mask(grad, mask, negative_slope), weight_sets).sum((1, 3, 4))


def parameter_gradients(
    grad: Tensor,
    input: Tensor,
    mask: Tensor | None,
    weight_sets: int,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    negative_slope: float,
) -> tuple[Tensor, Tensor]:
    grad = apply_mask(grad, mask, negative_slope)
    geometry = (stride, padding, dilation, groups, negative_slope)
    return (
        weight_gradient(grad, input, None, weight_sets, kernel_size, *geometry),
        bias_gradient(grad, None, weight_sets, negative_slope),
    )


def apply_mask(values: Tensor, mask: Tensor | None, negative_slope: float) -> Tensor:
    """m * values: the gradient of ReLU or LeakyReLU, which reads nothing of its output but the sign.

    A slope of zero selects, as PyTorch's ReLU does: where it is zero, an infinity is no NaN.
    """
    if mask is None:
        return values
    if negative_slope == 0:
        return torch.ops.aten.threshold_backward(values, mask, 0.0)
    return torch.ops.aten.leaky_relu_backward(values, mask, negative_slope, False)


def _convolve(input, weight, bias, stride, padding, dilation, groups) -> Tensor:
    weight, bias = _at_least_one_set(weight), None if bias is None else _at_least_one_set(bias).flatten()
    sets = weight.shape[0]
    output = F.conv2d(_fold(input, sets), weight.flatten(0, 1), bias, stride, padding, dilation, sets * groups)
    return laid_out(_unfold(output, sets), layout(input))


def _fold(samples: Tensor, sets: int) -> Tensor:
    """(B * r, C, H, W) -> (r, B * C, H, W): sets side by side in the channels. A view where r or B is 1."""
    if sets == 1:
        return samples
    by_set = _by_set(samples, sets).transpose(0, 1)
    return by_set.reshape(by_set.shape[0], sets * by_set.shape[2], *by_set.shape[3:])


def _by_set(samples: Tensor, sets: int) -> Tensor:
    """(B * r, ...) -> (B, r, ...); by `reshape`, as batched backward passes know neither `unflatten` nor `flatten`."""
    return samples.reshape(sets, samples.shape[0] // sets, *samples.shape[1:])


def _unfold(folded: Tensor, sets: int) -> Tensor:
    """The inverse of `_fold`."""
    if sets == 1:
        return folded
    shared, channels, *size = folded.shape
    by_set = folded.reshape(shared, sets, channels // sets, *size).transpose(0, 1)
    return by_set.reshape(shared * sets, channels // sets, *size)


def _at_least_one_set(values: Tensor) -> Tensor:
    """An empty batch has no weight set; one of zeros gives PyTorch the shapes."""
    return values if values.shape[0] else values.new_zeros((1, *values.shape[1:]))

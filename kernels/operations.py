"""The operators of `hyperconv.ops.schema` on Triton's kernels.

A call looks its plan up by all that a compiled kernel depends on, allocates the result, and sends the plan's launches
off on the current stream. Plans are made once for each key and kept.
"""

import torch
from torch import Tensor

from hyperconv.activations import NONE, TANH
from hyperconv.kernels.accumulation import Accumulation, BiasSum
from hyperconv.kernels.arithmetic import arithmetic_of
from hyperconv.kernels.call import describe
from hyperconv.kernels.correlation import Convolution, InputGradient
from hyperconv.kernels.preparation import Preparation
from hyperconv.memory_format import layout

MOST_PLANS = 4096
"""Beyond it, plans are made anew: a process that sees every size of image must not keep a plan of each."""
_plans: dict[tuple, object] = {}


def forget_plans() -> None:
    """Make every plan anew at its next call: the table of tiles has changed."""
    _plans.clear()


def conv2d(input, weight, bias, stride, padding, dilation, groups, activation, negative_slope) -> Tensor:
    # The kernels' tanh has float32's accuracy.
    after = activation == TANH and input.dtype == torch.float64
    geometry = (stride, padding, dilation, groups, NONE if after else activation, negative_slope)
    output = _convolve(input, weight, bias, None, *geometry)
    return output.tanh_() if after else output


def masked_conv2d(input, weight, bias, mask, stride, padding, dilation, groups, negative_slope) -> Tensor:
    return _convolve(input, weight, bias, mask, stride, padding, dilation, groups, NONE, negative_slope)


def _convolve(input, weight, bias, mask, stride, padding, dilation, groups, activation, negative_slope) -> Tensor:
    geometry = (tuple(stride), tuple(padding), tuple(dilation), groups, activation, negative_slope)
    key = (
        Convolution,
        arithmetic_of(input),
        geometry,
        describe(input),
        describe(weight),
        describe(bias),
        describe(mask),
    )
    plan = _plans.get(key) or _make(key, Convolution, input, weight, bias, mask, *geometry)
    output = input.new_empty_strided(plan.shape, plan.strides)
    with torch.cuda.device_of(input):
        plan.run(input, weight, bias, mask, output)
    return output


def input_gradient(grad, weight, mask, input_size, stride, padding, dilation, groups, negative_slope) -> Tensor:
    geometry = (tuple(input_size), tuple(stride), tuple(padding), tuple(dilation), groups, negative_slope)
    key = (
        InputGradient,
        arithmetic_of(grad),
        geometry,
        describe(grad),
        describe(weight),
        describe(mask),
    )
    plan = _plans.get(key) or _make(key, InputGradient, grad, weight, mask, *geometry)
    result = grad.new_empty_strided(plan.shape, plan.strides)
    with torch.cuda.device_of(grad):
        plan.run(grad, weight, mask, result)
    return result


def masked(grad, mask, negative_slope) -> Tensor:
    """m * grad in the memory format of grad, for several calls that would each make it."""
    key = (Preparation, negative_slope, describe(grad), describe(mask))
    plan = _plans.get(key) or _make(key, Preparation, grad, mask, layout(grad) == torch.channels_last, negative_slope)
    with torch.cuda.device_of(grad):
        return plan.run(grad, mask)


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
    geometry = (
        weight_sets,
        tuple(kernel_size),
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        negative_slope,
        with_bias,
    )
    key = (
        Accumulation,
        arithmetic_of(grad),
        geometry,
        describe(grad),
        describe(input),
        describe(mask),
    )
    plan = _plans.get(key) or _make(key, Accumulation, grad, input, mask, *geometry)
    weight = grad.new_empty(plan.shape)
    bias = grad.new_empty(plan.shape[:2]) if with_bias else None
    with torch.cuda.device_of(grad):
        plan.run(grad, input, mask, weight, bias)
    return weight, bias


def bias_gradient(grad, mask, weight_sets, negative_slope) -> Tensor:
    key = (BiasSum, weight_sets, negative_slope, describe(grad), describe(mask))
    plan = _plans.get(key) or _make(key, BiasSum, grad, mask, weight_sets, negative_slope)
    result = grad.new_empty(plan.shape)
    with torch.cuda.device_of(grad):
        plan.run(grad, mask, result)
    return result


def _make(key: tuple, kind: type, *args: object):
    if len(_plans) >= MOST_PLANS:
        _plans.clear()
    plan = _plans[key] = kind(*args)
    return plan

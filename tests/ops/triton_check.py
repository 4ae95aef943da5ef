"""All six Triton operators of one call, compared with the loop of `F.conv2d` in float64."""

import torch
from sample_loop import ACTIVATE, CODES, FAMILY, Call, convolve_each, laid_out, tensors_of, weights_laid_out

from hyperconv import kernels
from hyperconv.ops.schema import layout

UNIT = ((1, 1), (0, 0), (1, 1), 1)
SAME = ((1, 1), (1, 1), (1, 1), 1)
# Of the largest value; a rounding of the result and a few of the sums.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10}


def random_call(sets, shared, channels, size, kernel, geometry, dtype=torch.float32, *, where="contiguous",
                weights="flat", masked=True, bias=True):  # fmt: skip
    """(in, out) channels per group; input, weight, bias, grad and mask of one call."""
    groups = geometry[3]
    random = lambda *shape: torch.randn(*shape, dtype=torch.float64)
    input = random(sets * shared, channels[0] * groups, *size)
    weight = random(sets, channels[1] * groups, channels[0], *kernel)
    weight = weights_laid_out(weight / weight[0, 0].numel() ** 0.5, weights)
    shape = convolve_each(input, weight, None, *geometry).shape
    call = Call(
        laid_out(input, where), weight, random(sets, channels[1] * groups) if bias else None, geometry,
        laid_out(random(*shape), where), laid_out(random(*shape), where) if masked else None, 0.2,
    )  # fmt: skip
    return call if dtype == torch.float64 else in_dtype(call, dtype)


def in_dtype(call, dtype):
    """In another dtype, weights still as a view of a flat buffer or expanded."""
    weight = call.weight
    call = call.to(dtype)
    if weight.stride(0) == 0:
        call.weight = call.weight[:1].expand_as(weight)
    elif not weight.is_contiguous():
        call.weight = weights_laid_out(call.weight.contiguous(), "flat")
    return call


def check(call, activation=None, operations=("conv2d", *FAMILY)):
    """Shape, dtype and memory format too; strides of dimensions of size 1 say nothing."""
    exact = call.to(torch.float64)
    family = exact.all_expected([operation for operation in operations if operation != "conv2d"])
    for operation in operations:
        if operation == "conv2d":
            z = convolve_each(exact.input, exact.weight, exact.bias, *exact.geometry)
            expected = ACTIVATE[activation](z, call.negative_slope)
            arguments = (call.input, call.weight, call.bias, *call.geometry, CODES[activation], call.negative_slope)
        else:
            expected, arguments = family[operation], call.arguments(operation)
        results = tensors_of(getattr(kernels, operation)(*arguments))
        for result, right in zip(results, tensors_of(expected), strict=True):
            assert result.shape == right.shape and result.dtype == call.input.dtype
            error = (result.double() - right).abs().max() / right.abs().max().clamp(min=1)
            assert error <= TOLERANCE[result.dtype], f"{operation}: error {error:.2e}"
        source = {"conv2d": call.input, "masked_conv2d": call.input, "input_gradient": call.grad}.get(operation)
        assert results[0].is_contiguous(memory_format=torch.contiguous_format if source is None else layout(source))

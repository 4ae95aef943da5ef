"""`hyper_conv_transpose2d`: the transposed convolution with its own weights for every sample."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from hyperconv.ops.arguments import check_kinds, check_tensors, integer, pair
from hyperconv.ops.schema import operator

_input_gradient = operator("input_gradient")


def hyper_conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """2-D transposed convolution in which every sample has its own weights; arguments as of `F.conv_transpose2d`.

    A transposed convolution is the input gradient of a convolution, so it runs on that kernel, without zeros
    between the pixels, and has its derivatives of every order.

    Args:
        input: (N, C_in, H, W).
        weight: (B, C_in, C_out/groups, kH, kW), N a multiple of B: sample n uses weight set n // (N // B). Strided
            views and weights expanded with stride 0 are read in place. A 4-D weight is shared by all samples,
            and the input may be (C_in, H, W).
        bias: (B, C_out), with a 4-D weight (C_out,).
        output_padding: smaller than the stride or the dilation.

    Returns:
        (N, C_out, H_out, W_out) with H_out = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1.

    Raises:
        ValueError: shapes, devices or settings that do not fit together, with the numbers.
        TypeError: dtypes, as `hyper_conv2d`.
    """
    check_tensors(input, weight, bias)
    if weight.dim() == 4:
        weight, bias = weight.unsqueeze(0), None if bias is None else bias.unsqueeze(0)
        if input.dim() == 3:
            geometry = (stride, padding, output_padding, groups, dilation)
            return hyper_conv_transpose2d(input.unsqueeze(0), weight, bias, *geometry).squeeze(0)
    groups = integer("groups", groups)
    _check(input, weight, bias, groups)
    stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
    extra, dilation = pair("output_padding", output_padding, 0), pair("dilation", dilation, 1)
    if any(more >= max(step, gap) for more, step, gap in zip(extra, stride, dilation)):
        raise ValueError(f"output_padding {extra} must be smaller than stride {stride} or dilation {dilation}")
    axes = zip(input.shape[2:], weight.shape[3:], stride, padding, extra, dilation, strict=True)
    size = [(n - 1) * step - 2 * pad + gap * (taps - 1) + more + 1 for n, taps, step, pad, more, gap in axes]
    if min(size) < 1:
        pixels = tuple(input.shape[2:])
        raise ValueError(f"no output pixel is left: input {pixels} with padding {padding} gives {tuple(size)}")
    further = [more // step for more, step in zip(extra, stride)]
    if any(further):  # what a convolution of an image of that size gives more: these pixels pass on nothing
        input = F.pad(input, (0, further[1], 0, further[0]))
    output = _input_gradient(input, weight, None, size, stride, padding, dilation, groups, 0.0)
    if bias is None:
        return output
    samples, sets = input.shape[0], bias.shape[0]
    bias = bias.to(output.dtype).repeat_interleave(samples // sets if sets else 0, 0)
    return output + bias[:, :, None, None]


def _check(input: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    if input.dim() != 4 or weight.dim() != 5:
        raise ValueError(
            "input must be (N, C_in, H, W) and weight (B, C_in, C_out/groups, kH, kW), or 4-D and shared by all; "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    samples, channels, *_ = input.shape
    sets, channels_in, channels_out, *_ = weight.shape
    if samples % sets if sets else samples:
        raise ValueError(f"input has N = {samples} samples, not a multiple of the weight's B = {sets} sets")
    if channels != channels_in or 0 in weight.shape[1:] or 0 in input.shape[1:]:
        raise ValueError(
            f"input {tuple(input.shape)} has {channels} channels, weight {tuple(weight.shape)} takes {channels_in}; "
            "only N and B may be 0"
        )
    if groups < 1 or channels % groups:
        raise ValueError(f"groups = {groups} does not divide C_in = {channels}")
    if bias is not None and bias.shape != (sets, channels_out * groups):
        raise ValueError(f"bias must be (B, C_out) = ({sets}, {channels_out * groups}), got {tuple(bias.shape)}")
    check_kinds(input, weight, bias)

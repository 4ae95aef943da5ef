"""`hyper_conv2d`: the convolution with its own weights for every sample, its arguments checked."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.activations import ACTIVATIONS, NAMES, NONE, unknown_activation
from hyperconv.ops.arguments import check_kinds, check_tensors, integer, pair, real
from hyperconv.ops.schema import output_size
from hyperconv.ops.shortcut import direct

_conv2d = direct("conv2d")


def hyper_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    negative_slope: float = 0.01,
) -> Tensor:
    """2-D convolution in which every sample of the batch has its own weights; arguments as of `F.conv2d`.

    Args:
        input: (N, C_in, H, W), contiguous or channels_last; the output has the same memory format.
        weight: (B, C_out, C_in/groups, kH, kW), N a multiple of B: sample n uses weight set n // (N // B). A
            strided view into a flat (B, P) buffer or a weight expanded with stride 0 is read in place. A 4-D
            weight (C_out, C_in/groups, kH, kW) is shared by all samples: plain convolution, and the input may
            be (C_in, H, W).
        bias: (B, C_out), with a 4-D weight (C_out,).
        stride, padding, dilation: one int or (vertical, horizontal); padding also 'valid' and, with stride 1,
            'same'.
        activation: None, 'relu', 'leaky_relu' (with `negative_slope`) or 'tanh', fused with the convolution.

    On a CPU wide 3x3 layers use Winograd's algorithm. Its rounding errors are relative to the largest value of a tile
    of up to 6x6 pixels: a pixel of 1e6 among values of 1 changed outputs beside it, which do not read it, by up to
    0.3, one of 1e4 by 0.003. An infinity or NaN makes all outputs of its tiles NaN, an infinite weight its whole output
    channel. `use_backend("reference")` or the environment variable HYPERCONV_CPU_ALGORITHM=direct does without.

    Returns:
        (N, C_out, H_out, W_out), in the dtype of the input: float32, float64, bfloat16 or float16 (these two
        accumulate in float32). Any order of derivative; works under torch.compile, torch.func and autocast.

    Raises:
        ValueError: shapes, devices or settings that do not fit together, with the numbers.
        TypeError: a dtype the operator does not have, tensors of different dtypes outside of autocast, or an argument
            of another kind.
    """
    try:
        if type(groups) is not int or type(negative_slope) is not float:
            groups, negative_slope = integer("groups", groups), real("negative_slope", negative_slope)
        if activation not in NAMES:
            raise unknown_activation(activation)
        if weight.dim() == 4:
            options = {"activation": activation, "negative_slope": negative_slope}
            return _shared(input, weight, bias, stride, padding, dilation, groups, **options)
        shapes = input.shape, weight.shape
        _check_shapes(*shapes, bias, groups)
        check_kinds(input, weight, bias)
        stride, dilation = pair("stride", stride, 1), pair("dilation", dilation, 1)
        if isinstance(padding, str):
            input, padding = _named_padding(input, weight, stride, padding, dilation)
            shapes = input.shape, weight.shape
        padding = pair("padding", padding, 0)
        _check_output(*shapes, stride, padding, dilation)
        if activation == "leaky_relu" and negative_slope < 0:  # the sign of the output does not tell the input's
            output = _conv2d(input, weight, bias, stride, padding, dilation, groups, NONE, 0.0)
            return F.leaky_relu(output, negative_slope)
        code = ACTIVATIONS[activation]
        return _conv2d(input, weight, bias, stride, padding, dilation, groups, code, negative_slope)
    except Exception:  # what is no tensor failed somewhere: looking for that first would cost every call
        check_tensors(input, weight, bias)
        raise


def _shared(input: Tensor, weight: Tensor, bias: Tensor | None, *geometry, **options) -> Tensor:
    """One 4-D weight for all samples, which may be a single unbatched one: one weight set."""
    if input.dim() not in (3, 4):
        raise ValueError(f"input must be (N, C_in, H, W) or (C_in, H, W), got {tuple(input.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be ({weight.shape[0]},) for weight {tuple(weight.shape)}, got {tuple(bias.shape)}")
    batch = input if input.dim() == 4 else input.unsqueeze(0)
    bias = bias if bias is None else bias.unsqueeze(0)
    output = hyper_conv2d(batch, weight.unsqueeze(0), bias, *geometry, **options)
    return output if input.dim() == 4 else output.squeeze(0)


def _check_shapes(input: torch.Size, weight: torch.Size, bias: Tensor | None, groups: int) -> None:
    if len(weight) != 5:
        raise ValueError(
            f"weight must be (B, C_out, C_in/groups, kH, kW), or 4-D and shared by all, got {tuple(weight)}"
        )
    if len(input) != 4:
        raise ValueError(f"input must be (N, C_in, H, W) for a 5-D weight, got {tuple(input)}")
    sets, channels_out, channels, kernel_height, kernel_width = weight
    samples, channels_in, height, width = input
    if samples % sets if sets else samples:
        raise ValueError(f"input has N = {samples} samples, not a multiple of the weight's B = {sets} sets")
    if groups < 1 or channels_out % groups:
        raise ValueError(f"groups = {groups} does not divide C_in = {channels_in} and C_out = {channels_out}")
    if channels * groups != channels_in or not (
        channels_out * channels * kernel_height * kernel_width * height * width
    ):
        raise ValueError(
            f"input {tuple(input)} and weight {tuple(weight)} do not fit: with groups = {groups} this "
            f"weight takes {channels * groups} channels, the input has {channels_in}; only N and B may be 0"
        )
    if bias is not None and bias.shape != (sets, channels_out):
        raise ValueError(f"bias must be (B, C_out) = ({sets}, {channels_out}), got {tuple(bias.shape)}")


def _named_padding(input, weight, stride, padding, dilation) -> tuple[Tensor, tuple[int, int]]:
    """Padding for 'same' or 'valid'; an odd pixel of 'same' goes below and to the right, as in PyTorch."""
    if padding == "valid":
        return input, (0, 0)
    if padding != "same":
        raise ValueError(f"padding is {padding!r}; choose 'same', 'valid', one int or two")
    if stride != (1, 1):
        raise ValueError(f"padding='same' needs stride 1, got stride {stride}")
    vertical, horizontal = (step * (size - 1) for step, size in zip(dilation, weight.shape[3:], strict=True))
    if vertical % 2 or horizontal % 2:
        input = F.pad(input, (0, horizontal % 2, 0, vertical % 2))
    return input, (vertical // 2, horizontal // 2)


def _check_output(input: torch.Size, weight: torch.Size, stride, padding, dilation) -> None:
    _, _, height, width = input
    _, _, _, kernel_height, kernel_width = weight
    if (
        output_size(height, kernel_height, stride[0], padding[0], dilation[0]) < 1
        or output_size(width, kernel_width, stride[1], padding[1], dilation[1]) < 1
    ):
        raise ValueError(
            f"no output pixel is left: input {(height, width)} with padding {padding} is smaller than "
            f"kernel {(kernel_height, kernel_width)} with dilation {dilation}"
        )

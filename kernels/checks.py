"""What the kernels rely on, checked when a plan is made: arguments that do not fit would be read beyond their end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperconv.kernels.call import DTYPES


def check_layer(
    input: Tensor | None,
    size: Sequence[int],
    weight_shape: Sequence[int],
    output_size: Sequence[int],
    samples: int,
    groups: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> None:
    """A layer's sizes: (height, width) before and after, and as many samples for each weight set."""
    sets, outputs, channels, *kernel = weight_shape
    if groups < 1 or outputs % groups:
        raise ValueError(f"{outputs} output channels are not a multiple of {groups} groups")
    if samples % sets if sets else samples:
        raise ValueError(f"{samples} samples are not a multiple of {sets} weight sets")
    if input is not None and input.shape[1] != channels * groups:
        raise ValueError(
            f"input has {input.shape[1]} channels, and weight {tuple(weight_shape)} with {groups} groups "
            f"needs {channels * groups}"
        )
    expected = convolved(size, kernel, stride, padding, dilation)
    if list(output_size) != expected or min(expected) < 1:
        raise ValueError(
            f"a {kernel[0]}x{kernel[1]} kernel leaves {expected} of {list(size)} pixels, "
            f"and the call has {list(output_size)}"
        )


def convolved(size, kernel, stride, padding, dilation) -> list[int]:
    """Pixels a convolution leaves, along both axes."""
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(f"stride {stride}, padding {padding} or dilation {dilation} is out of range")
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return [(n + 2 * p - d * (taps - 1) - 1) // s + 1 for n, taps, s, p, d in axes]


def check_tensor(name: str, tensor: Tensor | None, like: Tensor, shape: Sequence[int]) -> None:
    """A tensor of the call beside its first one: same dtype and device, and this shape. None is fine."""
    if like.dtype not in DTYPES:
        raise ValueError(f"{like.dtype} is not supported: use float32, float64, bfloat16 or float16")
    if tensor is None:
        return
    if tensor.shape != torch.Size(shape):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, and the call needs {tuple(shape)}")
    if (tensor.dtype, tensor.device) != (like.dtype, like.device):
        raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, and the call is {like.dtype} on {like.device}")

"""`modulated_conv2d`: StyleGAN2's convolution, one weight whose input channels each sample scales by its style.

Karras et al. (2020, "Analyzing and Improving the Image Quality of StyleGAN", equations 1 and 3): sample n convolves with
d[n, o] s[n, i] w[o, i, k], where d = 1 / sqrt(sum over i, k of (s w)^2 + eps). Scaling the input by s and the output by d
is the same, so one plain convolution with the shared weight serves all samples and no weight of any sample is built.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.errors import InputError
from hyperconv.nn.call import samples_per_set
from hyperconv.ops.functional import _pair

ACTIVATIONS = {None: lambda x, slope: x, "relu": lambda x, slope: F.relu(x), "leaky_relu": F.leaky_relu,
               "tanh": lambda x, slope: x.tanh()}


def modulated_conv2d(
    input: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulate: bool = True,
    *,
    bias: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] | str = "same",
    resample_filter: Sequence[float] | Tensor = (1, 3, 3, 1),
    activation: str | None = None,
    negative_slope: float = 0.01,
    eps: float = 1e-8,
) -> Tensor:
    """2-D convolution with weight[o, i] * style[n, i] for sample n, demodulated per sample and output channel.

    Args:
        input: (N, C_in, H, W).
        weight: (C_out, C_in, kH, kW), shared by all samples.
        style: (B, C_in), N a multiple of B: sample n uses row n // (N // B).
        demodulate: scale each output channel so that unit variance of the input channels is kept.
        bias: (C_out,) or None, added after demodulation.
        up, down: the factor to enlarge or to reduce the image by; one of them is 1. `up` puts zeros between the pixels,
            smooths and convolves, at the cost of a convolution of the small image; `down` smooths and convolves with a
            stride.
        padding: of zeros around the enlarged image; 'same', for odd kernels, gives H * up // down.
        resample_filter: taps of the separable low-pass filter of `up` and `down`, normalised to sum one; (1, 1)
            repeats and averages pixels. A tensor on the input's device can be captured in a CUDA graph.
        activation: None, 'relu', 'leaky_relu' (with `negative_slope`) or 'tanh'.

    Returns (N, C_out, H_out, W_out), differentiable any number of times. Raises InputError or ValueError for what does not
    fit, with the numbers.
    """
    padding = _check(input, weight, style, bias, up, down, padding, activation)
    style = style.repeat_interleave(samples_per_set(len(input), len(style)), 0).to(input.dtype)
    x = input * style[:, :, None, None]
    if up > 1:
        x = _enlarge(x, weight, up, padding, resample_filter)
    elif down > 1:
        x = _reduce(x, weight, down, padding, resample_filter)
    else:
        x = F.conv2d(x, weight, padding=padding)
    if bias is not None:
        bias = bias[:, None, None].to(x.dtype)
    if demodulate:
        gain = _demodulation(weight, style, eps)[:, :, None, None].to(x.dtype)
        x = x * gain if bias is None else torch.addcmul(bias, x, gain)
    elif bias is not None:
        x = x + bias
    return ACTIVATIONS[activation](x, negative_slope)


def _demodulation(weight: Tensor, style: Tensor, eps: float) -> Tensor:
    """(N, C_out): one over the norm of each sample's modulated kernels, summed in float32 at least."""
    wide = torch.promote_types(style.dtype, torch.float32)
    norm = style.to(wide).square() @ weight.to(wide).square().sum((2, 3)).T
    return torch.rsqrt(norm + eps)


def _enlarge(x: Tensor, weight: Tensor, up: int, padding: tuple[int, int], taps: Sequence[float] | Tensor) -> Tensor:
    """Zeros between the pixels, then the filter, then the convolution; computed as a transposed convolution first."""
    size = [n * up + 2 * pad - kernel + 1 for n, pad, kernel in zip(x.shape[2:], padding, weight.shape[2:])]
    x = F.conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=up)
    before = [pad + (len(taps) + up - 1) // 2 - (k - 1) for pad, k in zip(padding, weight.shape[2:])]
    after = [n + len(taps) - 1 - b - now for n, b, now in zip(size, before, x.shape[2:])]
    return _smooth(x, taps, before, after, gain=up * up)


def _reduce(x: Tensor, weight: Tensor, down: int, padding: tuple[int, int], taps: Sequence[float] | Tensor) -> Tensor:
    before = [pad + (len(taps) - down + 1) // 2 for pad in padding]
    after = [pad + (len(taps) - down) // 2 for pad in padding]
    return F.conv2d(_smooth(x, taps, before, after), weight, stride=down)


def _smooth(x: Tensor, taps: Sequence[float] | Tensor, before: list[int], after: list[int], gain: float = 1.0) -> Tensor:
    """Pads (or, where negative, crops) and convolves each channel with the outer product of the taps."""
    line = torch.as_tensor(taps, dtype=x.dtype, device=x.device).flip(0)
    line = line / line.sum()
    plane = (line.unsqueeze(1) * line * gain).expand(x.shape[1], 1, -1, -1)
    if before != after or min(before) < 0:
        x, before = F.pad(x, (before[1], after[1], before[0], after[0])), 0
    return F.conv2d(x, plane, padding=before, groups=x.shape[1])


def _check(input, weight, style, bias, up, down, padding, activation) -> tuple[int, int]:
    """Raises InputError, or returns the padding as (vertical, horizontal)."""
    if input.dim() != 4 or weight.dim() != 4 or input.shape[1] != weight.shape[1]:
        raise InputError(f"input must be (N, C_in, H, W) and weight (C_out, C_in, kH, kW), got {tuple(input.shape)} and "
                         f"{tuple(weight.shape)}")
    if style.dim() != 2 or style.shape[1] != weight.shape[1]:
        raise InputError(f"style must be (B, C_in) = (B, {weight.shape[1]}), got {tuple(style.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise InputError(f"bias must be (C_out,) = ({len(weight)},), got {tuple(bias.shape)}")
    if up < 1 or down < 1 or (up > 1 and down > 1):
        raise InputError(f"up = {up} and down = {down} must be at least 1, and one of them 1")
    if activation not in ACTIVATIONS:
        raise InputError(f"activation is {activation!r}; choose None, 'relu', 'leaky_relu' or 'tanh'")
    if padding != "same":
        return _pair("padding", padding, 0)
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise InputError(f"padding='same' needs an odd kernel, got {tuple(weight.shape[2:])}; give a number")
    return weight.shape[2] // 2, weight.shape[3] // 2

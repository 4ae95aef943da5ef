"""`modulated_conv2d`: StyleGAN2's convolution, one weight whose input channels each sample scales by its style.

Karras et al. (2020, "Analyzing and Improving the Image Quality of StyleGAN", equations 1 and 3): sample n convolves with
d[n, o] s[n, i] w[o, i, k], where d = 1 / sqrt(sum over i, k of (s w)^2 + eps). Scaling the input by s and the output by d
is the same: one plain convolution with the shared weight serves all samples, and no sample's weight is built. Only where
the images are many times larger than the weights are the weights scaled instead, and applied per sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.activations import NAMES, unknown_activation
from hyperconv.errors import InputError
from hyperconv.nn.call import per_sample_affine, samples_per_set
from hyperconv.ops.arguments import pair
from hyperconv.ops.functional import hyper_conv2d
from hyperconv.ops.transposed import hyper_conv_transpose2d

ACTIVATIONS = {
    None: lambda x, slope: x,
    "relu": lambda x, slope: F.relu(x),
    "leaky_relu": F.leaky_relu,
    "tanh": lambda x, slope: x.tanh(),
}
LARGE_IMAGES = 8
"""Weights are scaled where input and output of a sample have more than this many times their numbers: of 64 channels at
64 px (14 times) the images take longer to scale, of 128 channels at 32 px (1.8 times) the weights longer to apply."""


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
    gain = _demodulation(weight, style, eps).to(input.dtype) if demodulate else None
    style, geometry = style.to(input.dtype), (up, down, padding, resample_filter)
    if sum(weight.shape[:2]) * input.shape[2] * input.shape[3] > LARGE_IMAGES * weight.numel():
        kernels = weight * style[:, None, :, None, None]
        if gain is not None:
            kernels = kernels * gain[:, :, None, None, None]
        x = _convolve(input, kernels, *geometry)
        if bias is not None:
            x = x + bias[:, None, None].to(x.dtype)
    else:
        x = _convolve(per_sample_affine(input, style, None), weight, *geometry)
        if bias is not None:
            bias = bias.to(x.dtype).expand(len(style), -1)
        if bias is not None or gain is not None:
            x = per_sample_affine(x, None if gain is None else gain.to(x.dtype), bias)
    return ACTIVATIONS[activation](x, negative_slope)


def _demodulation(weight: Tensor, style: Tensor, eps: float) -> Tensor:
    """(B, C_out): one over the norm of each sample's modulated kernels, summed in float32 at least."""
    wide = torch.promote_types(style.dtype, torch.float32)
    norm = style.to(wide).square() @ weight.to(wide).square().sum((2, 3)).T
    return torch.rsqrt(norm + eps)


def _convolve(x: Tensor, weight: Tensor, up: int, down: int, padding: tuple[int, int], taps) -> Tensor:
    """With one weight (C_out, C_in, kH, kW), or one per set with a leading axis.

    PyTorch's kernels for GPUs are made for one weight; on a CPU this package's save products there, too.
    """
    plain = weight.dim() == 4 and not x.is_cpu
    conv2d, conv_transpose2d = (F.conv2d, F.conv_transpose2d) if plain else (hyper_conv2d, hyper_conv_transpose2d)
    if up > 1:
        # Zeros between the pixels, the filter, the convolution; a transposed convolution first gives the same.
        kernel = weight.shape[-2:]
        size = [n * up + 2 * pad - k + 1 for n, pad, k in zip(x.shape[2:], padding, kernel)]
        x = conv_transpose2d(x, weight.transpose(-4, -3).flip(-2, -1), stride=up)
        before = [pad + (len(taps) + up - 1) // 2 - (k - 1) for pad, k in zip(padding, kernel)]
        after = [n + len(taps) - 1 - b - now for n, b, now in zip(size, before, x.shape[2:])]
        return _smooth(x, taps, before, after, gain=up * up)
    if down > 1:
        before = [pad + (len(taps) - down + 1) // 2 for pad in padding]
        after = [pad + (len(taps) - down) // 2 for pad in padding]
        return conv2d(_smooth(x, taps, before, after), weight, stride=down)
    return conv2d(x, weight, padding=padding)


def _smooth(
    x: Tensor, taps: Sequence[float] | Tensor, before: list[int], after: list[int], gain: float = 1.0
) -> Tensor:
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
        raise InputError(
            f"input must be (N, C_in, H, W) and weight (C_out, C_in, kH, kW), got {tuple(input.shape)} and "
            f"{tuple(weight.shape)}"
        )
    if style.dim() != 2 or style.shape[1] != weight.shape[1]:
        raise InputError(f"style must be (B, C_in) = (B, {weight.shape[1]}), got {tuple(style.shape)}")
    samples_per_set(len(input), len(style))
    if bias is not None and bias.shape != weight.shape[:1]:
        raise InputError(f"bias must be (C_out,) = ({len(weight)},), got {tuple(bias.shape)}")
    if up < 1 or down < 1 or (up > 1 and down > 1):
        raise InputError(f"up = {up} and down = {down} must be at least 1, and one of them 1")
    if activation not in NAMES:
        raise unknown_activation(activation)
    if padding != "same":
        return pair("padding", padding, 0)
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise InputError(f"padding='same' needs an odd kernel, got {tuple(weight.shape[2:])}; give a number")
    return weight.shape[2] // 2, weight.shape[3] // 2

"""`image_norm`: instance normalisation with an affine of its own for every sample, in few passes over memory.

With x^ = (x - mean) / deviation of one channel of one image, w what its pixels count for (their sum is 1), and
y = gain x^ + shift, the gradient g of y gives (`_Gradient`)

    by shift  S = sum g        by gain  Q = sum g x^        by x  gain / deviation (g - w (S + Q x^))

and all that a gradient penalty differentiates once more is again sums over pixels and lines in x^. Where pixels count
alike, PyTorch's group normalisation with a group for every channel of every sample is quick already.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPSILON = 1e-5  # added to a variance


def image_norm(x: Tensor, gain: Tensor, shift: Tensor, counts: Tensor | None = None) -> Tensor:
    """Every channel of every image brought to mean 0 and variance 1, then times gain plus shift.

    Args:
        x: (N, C, H, W), any floating dtype; float32 at least is computed in.
        gain, shift: (B, C), N a multiple of B: sample n uses row n // (N // B).
        counts: (N, 1, H, W), what a pixel counts for in the statistics of its image: 0 where the canvas is empty, which
            is scaled and shifted with the rest. None: all count alike. They get no gradient.

    Returns (N, C, H, W) in the dtype of x; it can be differentiated twice.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    rows = len(x) // len(gain)
    gain, shift = (each.to(wide).repeat_interleave(rows, dim=0)[:, :, None, None] for each in (gain, shift))
    values = x.to(wide).contiguous()
    if counts is None:
        channels = values.flatten(0, 1)[None]
        y = torch.group_norm(channels, channels.shape[1], gain.flatten(), shift.flatten(), EPSILON).view_as(values)
    else:
        shares = counts.to(wide) / counts.to(wide).sum(dim=(2, 3), keepdim=True)
        y = _ImageNorm.apply(values, gain, shift, shares)
    return y.to(x.dtype)


class _ImageNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, gain: Tensor, shift: Tensor, shares: Tensor) -> Tensor:
        y = x * shares
        mean = _sum(y)
        torch.sub(x, mean, out=y)
        scale = (_sum(y.square_().mul_(shares)) + EPSILON).rsqrt()
        torch.addcmul(shift - mean * gain * scale, x, gain * scale, out=y)
        ctx.save_for_backward(x, gain, mean, scale, shares)
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *_Gradient.apply(grad.contiguous(), *ctx.saved_tensors), None


class _Gradient(torch.autograd.Function):
    """The gradients of `_ImageNorm` by x, gain and shift; scale is 1 / deviation."""

    @staticmethod
    def forward(
        ctx, grad: Tensor, x: Tensor, gain: Tensor, mean: Tensor, scale: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        by_shift = _sum(grad)
        by_gain = scale * (_sum(grad * x) - mean * by_shift)
        factor = gain * scale
        by_x = _line(x, mean, scale, -factor * by_shift, -factor * by_gain).mul_(shares).addcmul_(grad, factor)
        ctx.save_for_backward(grad, x, gain, mean, scale, shares, by_gain, by_shift)
        return by_x, by_gain, by_shift

    @staticmethod
    @once_differentiable
    def backward(ctx, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor | None, ...]:
        """By grad, x and gain, for gradients u (N, C, H, W), v, w (N, C, 1, 1) of what `forward` returns."""
        grad, x, gain, mean, scale, shares, by_gain, by_shift = ctx.saved_tensors
        factor, shared = gain * scale, u * shares
        level = _sum(shared)
        slope = scale * (_sum(shared * x) - mean * level)
        rest = _sum(u * grad) - by_shift * level - by_gain * slope
        by_grad = _line(x, mean, scale, w - factor * level, v - factor * slope).addcmul_(u, factor)

        both = factor * (by_shift * slope + by_gain * level) - v * by_shift
        by_x = _line(x, mean, scale, scale * both, scale * (factor * (2 * by_gain * slope - rest) - v * by_gain))
        by_x.mul_(shares).addcmul_(shared, -scale * factor * by_gain).addcmul_(grad, scale * (v - factor * slope))
        return by_grad, by_x, scale * rest, None, None, None


def _sum(values: Tensor) -> Tensor:
    """Over pixels: (N, C, H, W) -> (N, C, 1, 1)."""
    return values.sum(dim=(2, 3), keepdim=True)


def _line(x: Tensor, mean: Tensor, scale: Tensor, level: Tensor, slope: Tensor) -> Tensor:
    """level + slope x^, where x^ = (x - mean) scale."""
    slope = slope * scale
    return torch.addcmul(level - slope * mean, x, slope)

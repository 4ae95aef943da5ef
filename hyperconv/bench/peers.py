"""Every way to give each sample its own convolution weights with PyTorch alone.

All of them compute leaky_relu(conv2d(input[n], weight[n], bias[n], stride, padding)) for each sample n, with one
signature: input (N, C_in, H, W), weight (N, C_out, C_in, k, k), bias (N, C_out) -> (N, C_out, H', W').
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hyperconv.bench.layer import NEGATIVE_SLOPE

Apply = Callable[..., Tensor]


def grouped(input: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """Samples become channels, and the convolution has one group per sample."""
    n, channels, height, width = input.shape
    output = F.conv2d(
        input.reshape(1, n * channels, height, width),
        weight.flatten(0, 1),
        bias.flatten(),
        stride=stride,
        padding=padding,
        groups=n,
    )
    return F.leaky_relu(output.reshape(n, weight.shape[1], *output.shape[2:]), NEGATIVE_SLOPE)


def vmapped(input: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """torch.func.vmap over the convolution of one sample."""

    def one(image: Tensor, kernel: Tensor, offset: Tensor) -> Tensor:
        return F.conv2d(image.unsqueeze(0), kernel, offset, stride=stride, padding=padding).squeeze(0)

    return F.leaky_relu(torch.func.vmap(one)(input, weight, bias), NEGATIVE_SLOPE)


def loop(input: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """One convolution per sample."""
    samples = zip(input.split(1), weight.unbind(), bias.unbind())
    outputs = [F.conv2d(image, kernel, offset, stride, padding) for image, kernel, offset in samples]
    return F.leaky_relu(torch.cat(outputs), NEGATIVE_SLOPE)


def unfolded(input: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """Patches become columns, and one batched matrix product applies all weights."""
    kernel = weight.shape[-1]
    columns = F.unfold(input, kernel, stride=stride, padding=padding)
    output = torch.baddbmm(bias.unsqueeze(-1), weight.flatten(2), columns)
    size = [(side + 2 * padding - kernel) // stride + 1 for side in input.shape[2:]]
    return F.leaky_relu(output.reshape(len(input), -1, *size), NEGATIVE_SLOPE)


PEERS: dict[str, Apply] = {"grouped": grouped, "vmap": vmapped, "loop": loop, "unfold": unfolded}

"""Every way to give each sample its own convolution weights with PyTorch alone.

All of them compute leaky_relu(conv2d(input[n], weight[n], bias[n])) for each sample n, with one signature:
input (N, C_in, H, W), weight (N, C_out, C_in, 3, 3), bias (N, C_out) -> (N, C_out, H, W).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.layers import KERNEL_SIZE, NEGATIVE_SLOPE, PADDING

Apply = Callable[[Tensor, Tensor, Tensor], Tensor]


def grouped(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Samples become channels, and the convolution has one group per sample."""
    n, channels, height, width = input.shape
    output = F.conv2d(
        input.reshape(1, n * channels, height, width),
        weight.reshape(-1, channels, KERNEL_SIZE, KERNEL_SIZE),
        bias.reshape(-1),
        padding=PADDING,
        groups=n,
    )
    return F.leaky_relu(output.reshape(n, weight.shape[1], height, width), NEGATIVE_SLOPE)


def vmapped(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """torch.func.vmap over the convolution of one sample."""

    def one(image: Tensor, kernel: Tensor, offset: Tensor) -> Tensor:
        return F.conv2d(image.unsqueeze(0), kernel, offset, padding=PADDING).squeeze(0)

    return F.leaky_relu(torch.func.vmap(one)(input, weight, bias), NEGATIVE_SLOPE)


def loop(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution per sample."""
    samples = zip(input.split(1), weight.unbind(), bias.unbind())
    outputs = [F.conv2d(image, kernel, offset, padding=PADDING) for image, kernel, offset in samples]
    return F.leaky_relu(torch.cat(outputs), NEGATIVE_SLOPE)


def unfolded(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Patches become columns, and one batched matrix product applies all weights."""
    columns = F.unfold(input, KERNEL_SIZE, padding=PADDING)
    output = torch.baddbmm(bias.unsqueeze(-1), weight.flatten(2), columns)
    return F.leaky_relu(output.reshape(len(input), -1, *input.shape[2:]), NEGATIVE_SLOPE)


PEERS: dict[str, Apply] = {"grouped": grouped, "vmap": vmapped, "loop": loop, "unfold": unfolded}


@cache
def compiled(function: Callable, *, autograd_inside: bool = False) -> Callable:
    """`function` through inductor's autotuning; `autograd_inside` where it calls torch.autograd.grad itself.

    A compiled module has no double backward, so a gradient penalty is compiled whole.
    """
    torch._dynamo.config.recompile_limit = 1000  # every layer is a shape of its own
    if autograd_inside:
        torch._dynamo.config.trace_autograd_ops = True
    return torch.compile(function, mode="max-autotune", fullgraph=True, dynamic=False)

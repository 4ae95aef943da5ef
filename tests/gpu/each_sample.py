"""What the operator must compute: a loop over samples in float64, and random layers to compare with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ACTIVATE = {
    None: lambda z, slope: z,
    "relu": lambda z, slope: F.relu(z),
    "leaky_relu": F.leaky_relu,
    "tanh": lambda z, slope: torch.tanh(z),
}


@dataclass(frozen=True)
class Settings:
    """Everything of a layer but its tensors."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: str | None = None
    negative_slope: float = 0.01

    def arguments(self) -> dict:
        return dict(vars(self))


def each_sample(input: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
    """Sample n with weight set n // (N // B), by F.conv2d, in the dtype of the input."""
    share = len(input) // len(weight)
    geometry = (settings.stride, settings.padding, settings.dilation, settings.groups)
    rows = [
        F.conv2d(image, weight[n // share], None if bias is None else bias[n // share], *geometry)
        for n, image in enumerate(input.split(1))
    ]
    return ACTIVATE[settings.activation](torch.cat(rows), settings.negative_slope)


def relative_error(result: Tensor, exact: Tensor) -> float:
    return ((result.double() - exact).norm() / exact.norm()).item()


def random_layer(
    device: str,
    sets: int = 3,
    share: int = 2,
    channels: tuple[int, int] = (3, 8),
    size: tuple[int, int] = (13, 17),
    kernel: tuple[int, int] = (3, 3),
    groups: int = 1,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Standard normal input (sets * share, C_in, H, W), weight (sets, C_out, C_in / groups, kH, kW), bias."""
    generator = torch.Generator(device).manual_seed(seed)
    shapes = (
        (sets * share, channels[0], *size),
        (sets, channels[1], channels[0] // groups, *kernel),
        (sets, channels[1]),
    )
    return tuple(torch.randn(shape, generator=generator, device=device).to(dtype) for shape in shapes)

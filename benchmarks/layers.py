"""The layers that are measured: the ones single-image GANs are made of, and the tensors to run them on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

KERNEL_SIZE = 3
PADDING = 1
NEGATIVE_SLOPE = 0.02

CHANNELS = ((3, 64), (64, 64), (64, 3), (3, 32), (32, 32), (64, 1))
SIZES = ((64, 64), (25, 25), (128, 128), (250, 250), (188, 250))
TRAFFIC = {"forward": (1, 1, 1), "backward": (3, 3, 3), "penalty": (6, 7, 4)}
"""How often tensors of the size of the input, the output and the weights are read or written.

Forward reads input and weight and writes the output; backward also reads the gradient and the output, whose sign is
the mask, both once, with the weight and the input, and writes their gradients. The penalty is a forward pass, an input
gradient, the norm of it and its gradient, a weight gradient and a masked convolution.
"""

CONVOLUTIONS = {"forward": 1, "backward": 3, "penalty": 4}
DAILY_BATCHES = {25: (1, 4, 8, 16), 64: (1, 4, 8), 128: (1,), 250: (1,)}
DAILY_OPERATIONS = 2.5e9
"""What a quarter of an hour on one core has time for: the batches of each width, and operations of a forward pass."""

BATCHES = {"cpu": (4, 16, 1, 8), "cuda": (16, 64, 1, 4, 8)}


@dataclass(frozen=True)
class Layer:
    """One 3x3 convolution with bias and leaky ReLU, `batch` samples, each with weights of its own."""

    in_channels: int
    out_channels: int
    height: int
    width: int
    batch: int

    def __str__(self) -> str:
        return f"{self.in_channels}to{self.out_channels}-{self.height}x{self.width}-b{self.batch}"

    @property
    def forward_operations(self) -> int:
        """Floating-point operations of one forward pass (a multiply and an add count as two)."""
        pixels = self.batch * self.height * self.width
        return 2 * pixels * self.in_channels * self.out_channels * KERNEL_SIZE**2

    def bytes_moved(self, element_size: int, phase: str = "forward") -> int:
        """The fewest bytes a phase can move, where every convolution of it reads and writes its tensors once."""
        inputs, outputs, weights = TRAFFIC[phase]
        pixels = self.batch * self.height * self.width
        of_weights = self.batch * self.out_channels * (self.in_channels * KERNEL_SIZE**2 + 1)
        of_images = pixels * (inputs * self.in_channels + outputs * self.out_channels)
        return element_size * (of_images + weights * of_weights)


def layers(device: str, full: bool) -> list[Layer]:
    """The full list, or the part of it that is bearable every day; the telling ones come first."""
    every = [Layer(*channels, *size, batch) for batch in BATCHES[device] for size in SIZES for channels in CHANNELS]
    if full:
        return every
    if device == "cuda":
        return [layer for layer in every if layer.batch in (1, 16, 64) and layer.height != 188]
    return [
        layer
        for layer in every
        if layer.width == layer.height
        and layer.batch in DAILY_BATCHES[layer.width]
        and layer.forward_operations <= DAILY_OPERATIONS
    ]


@dataclass
class Problem:
    """Random tensors of one layer; all of them ask for gradients.

    input (N, C_in, H, W), weight (N, C_out, C_in, 3, 3), bias (N, C_out), and `cotangent` (N, C_out, H, W),
    the gradient that arrives from the layers above.
    """

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    cotangent: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.input, self.weight, self.bias, self.cotangent

    def of_samples(self, samples: list[int], dtype: torch.dtype) -> Problem:
        """The same problem for a few of its samples, in another dtype."""
        return Problem(*(t.detach()[samples].to(dtype).requires_grad_() for t in self.tensors()))


def problem(layer: Layer, dtype: torch.dtype, device: str, seed: int = 0) -> Problem:
    """Standard normal input and gradient, weights at He's scale: activations keep unit size."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, device=device) * scale
        return values.to(dtype).requires_grad_()

    n, c_in, c_out = layer.batch, layer.in_channels, layer.out_channels
    return Problem(
        input=normal(n, c_in, layer.height, layer.width),
        weight=normal(n, c_out, c_in, KERNEL_SIZE, KERNEL_SIZE, scale=(2 / (c_in * KERNEL_SIZE**2)) ** 0.5),
        bias=normal(n, c_out, scale=0.1),
        cotangent=normal(n, c_out, layer.height, layer.width),
    )

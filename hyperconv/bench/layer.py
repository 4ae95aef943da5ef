"""A layer to be raced: its shape, what it costs at least, and the tensors to run it on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEGATIVE_SLOPE = 0.02
TRAFFIC = {"forward": (1, 1, 1), "backward": (3, 3, 3), "penalty": (6, 7, 4)}
"""How often tensors of the size of the input, the output and the weights are read or written.

Forward reads input and weight and writes the output; backward also reads the gradient and the output, whose sign is
the mask, both once, with the weight and the input, and writes their gradients. The penalty is a forward pass, an input
gradient, the norm of it and its gradient, a weight gradient and a masked convolution.
"""

CONVOLUTIONS = {"forward": 1, "backward": 3, "penalty": 4}


@dataclass(frozen=True)
class Layer:
    """One convolution with bias and leaky ReLU, `batch` samples, each with weights of its own; size of the input.

    Padding is (kernel - 1) // 2: with an odd kernel and stride 1 the size stays.
    """

    in_channels: int
    out_channels: int
    height: int
    width: int
    batch: int
    kernel: int = 3
    stride: int = 1

    def __str__(self) -> str:
        usual = (self.kernel, self.stride) == (3, 1)
        window = "" if usual else f"-k{self.kernel}-s{self.stride}"
        return f"{self.in_channels}to{self.out_channels}-{self.height}x{self.width}-b{self.batch}{window}"

    @property
    def padding(self) -> int:
        return (self.kernel - 1) // 2

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of the output; below 1 where the kernel does not fit into the padded input."""
        sides = (self.height, self.width)
        return tuple((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in sides)

    @property
    def forward_operations(self) -> int:
        """Floating-point operations of one forward pass (a multiply and an add count as two)."""
        height, width = self.output_size
        return 2 * self.batch * height * width * self.in_channels * self.out_channels * self.kernel**2

    def bytes_moved(self, element_size: int, phase: str = "forward") -> int:
        """The fewest bytes a phase can move, where every convolution of it reads and writes its tensors once."""
        inputs, outputs, weights = TRAFFIC[phase]
        height, width = self.output_size
        of_inputs = self.batch * self.height * self.width * self.in_channels
        of_outputs = self.batch * height * width * self.out_channels
        of_weights = self.batch * self.out_channels * (self.in_channels * self.kernel**2 + 1)
        return element_size * (inputs * of_inputs + outputs * of_outputs + weights * of_weights)


@dataclass
class Problem:
    """Random tensors of one layer; all of them ask for gradients.

    input (N, C_in, H, W), weight (N, C_out, C_in, k, k), bias (N, C_out), and `cotangent`, shaped as the output, the
    gradient that arrives from the layers above.
    """

    input: Tensor
    weight: Tensor
    bias: Tensor
    cotangent: Tensor
    stride: int = 1
    padding: int = 1

    def tensors(self) -> tuple[Tensor, ...]:
        return self.input, self.weight, self.bias, self.cotangent

    def of_samples(self, samples: list[int], dtype: torch.dtype) -> Problem:
        """The same problem for a few of its samples, in another dtype."""
        few = (tensor.detach()[samples].to(dtype).requires_grad_() for tensor in self.tensors())
        return Problem(*few, self.stride, self.padding)


def problem(layer: Layer, dtype: torch.dtype, device: str | torch.device, seed: int = 0) -> Problem:
    """Standard normal input and gradient, weights at He's scale: activations keep unit size."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        values = torch.randn(shape, generator=generator, device=device) * scale
        return values.to(dtype).requires_grad_()

    n, c_in, c_out, k = layer.batch, layer.in_channels, layer.out_channels, layer.kernel
    return Problem(
        input=normal(n, c_in, layer.height, layer.width),
        weight=normal(n, c_out, c_in, k, k, scale=(2 / (c_in * k**2)) ** 0.5),
        bias=normal(n, c_out, scale=0.1),
        cotangent=normal(n, c_out, *layer.output_size),
        stride=layer.stride,
        padding=layer.padding,
    )

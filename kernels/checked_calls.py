"""What the tuner runs: the operators that share a class's tiles, on random tensors, and their results in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn import grad as gradients

from hyperconv.activations import LEAKY_RELU
from hyperconv.kernels import operations
from hyperconv.kernels.configurations import exchanged

SLOPE = 0.2
GEOMETRY = ([1, 1], [1, 1], [1, 1], 1)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "tf32": 3e-3, "float16": 3e-3, "bfloat16": 2e-2}
"""Largest relative error ||out - exact|| / ||exact|| of a right result."""


@dataclass
class CheckedCall:
    """One call of an operator; `exact` computes the same in float64 with plain PyTorch."""

    name: str
    run: Callable[[], Tensor | tuple[Tensor, ...]]
    exact: Callable[[], tuple[Tensor, ...]]
    timed: bool = True

    @cached_property
    def expected(self) -> tuple[Tensor, ...]:
        return self.exact()


def calls_of(case, seed: int) -> list[CheckedCall]:
    """The operators of a `tune.Case`, on standard normal tensors of their own."""
    generator = torch.Generator(case.device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator, device=case.device).to(case.dtype)
        return (
            values.contiguous(memory_format=torch.channels_last)
            if case.layout == "nhwc" and len(shape) == 4
            else values
        )

    n, side = case.batch, (case.side, case.side)
    read, made = normal(n, case.channels, *side), normal(n, case.outputs, *side)
    if case.kernel == "correlate":
        weight, bias = normal(n, case.outputs, case.channels, 3, 3), normal(n, case.outputs)
        across, mask = normal(n, case.channels, case.outputs, 3, 3), normal(n, case.channels, *side)
        back = (read, across, mask, list(side), *GEOMETRY, SLOPE)
        return [
            CheckedCall(
                "conv2d",
                partial(operations.conv2d, read, weight, bias, *GEOMETRY, LEAKY_RELU, SLOPE),
                partial(exact_conv2d, read, weight, bias),
            ),
            CheckedCall(
                "input_gradient",
                partial(operations.input_gradient, *back),
                partial(exact_input_gradient, read, across, mask),
            ),
            CheckedCall(
                "masked_conv2d",
                partial(operations.masked_conv2d, read, weight, None, made, *GEOMETRY, SLOPE),
                partial(exact_masked, read, weight, made),
                timed=False,
            ),
        ]
    found = [parameter_gradients(made, read, normal(*made.shape))]
    if exchanged(case.outputs, case.channels):  # the same sum, the other way round
        found.append(parameter_gradients(read, made, normal(*read.shape)))
    return found


def parameter_gradients(grad: Tensor, input: Tensor, mask: Tensor) -> CheckedCall:
    call = (grad, input, mask, len(grad), [3, 3], *GEOMETRY, SLOPE)
    return CheckedCall(
        "parameter_gradients",
        partial(operations.parameter_gradients, *call),
        partial(exact_parameter_gradients, grad, input, mask),
    )


def as_groups(tensor: Tensor) -> Tensor:
    """Samples as groups of channels, in float64."""
    return tensor.double().contiguous().flatten(0, 1)


def convolved(input: Tensor, weight: Tensor) -> Tensor:
    output = F.conv2d(as_groups(input)[None], as_groups(weight), padding=1, groups=len(input))
    return output.view(len(input), -1, *output.shape[2:])


def times_mask(tensor: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask > 0, tensor.double(), SLOPE * tensor.double())


def exact_conv2d(input: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    return (F.leaky_relu(convolved(input, weight) + bias.double()[:, :, None, None], SLOPE),)


def exact_masked(input: Tensor, weight: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    return (times_mask(convolved(input, weight), mask),)


def exact_input_gradient(grad: Tensor, weight: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    n, _, height, width = grad.shape
    size = (1, n * weight.shape[2], height, width)
    back = as_groups(times_mask(grad, mask))[None]
    return (gradients.conv2d_input(size, as_groups(weight), back, padding=1, groups=n).view(n, -1, height, width),)


def exact_parameter_gradients(grad: Tensor, input: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    n, outputs = grad.shape[:2]
    grad = times_mask(grad, mask)
    shape = (n * outputs, input.shape[1], 3, 3)
    weight = gradients.conv2d_weight(as_groups(input)[None], shape, as_groups(grad)[None], padding=1, groups=n)
    return weight.view(n, outputs, *shape[1:]), grad.sum((2, 3))


def fault_in(case, call: CheckedCall) -> str | None:
    """What is wrong with a call's result; None where it is the float64 one but for rounding."""
    results = call.run()
    for result, expected in zip(results if isinstance(results, tuple) else (results,), call.expected, strict=True):
        error = ((result.double() - expected).norm() / expected.norm()).item()
        if not error <= TOLERANCE[case.arithmetic]:
            return f"wrong result of {call.name}: relative error {error:.1e}"
    return None


def fault_of(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]

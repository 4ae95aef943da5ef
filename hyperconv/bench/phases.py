"""What is done with a layer: forward, forward and backward, and the double backward of a gradient penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from hyperconv.bench.layer import NEGATIVE_SLOPE, Problem
from hyperconv.bench.peers import Apply
from hyperconv.gan.discriminator import channel_norm

Results = dict[str, Tensor]


def output_of(apply: Apply, problem: Problem) -> Tensor:
    return apply(problem.input, problem.weight, problem.bias, problem.stride, problem.padding)


def forward(apply: Apply, problem: Problem) -> Results:
    """The output alone, nothing kept for a backward."""
    with torch.no_grad():
        return {"output": output_of(apply, problem)}


def backward(apply: Apply, problem: Problem) -> Results:
    """Forward, then the gradients of input, weight and bias."""
    output = output_of(apply, problem)
    inputs = (problem.input, problem.weight, problem.bias)
    gradients = torch.autograd.grad(output, inputs, problem.cotangent)
    return {"output": output.detach(), **dict(zip(("input", "weight", "bias"), gradients))}


def penalty(apply: Apply, problem: Problem) -> Results:
    """WGAN-GP: the norm of the input gradient over channels is pulled to 1, per pixel.

    The derivative is taken by the weight and by the gradient that arrived from above, which in a critic
    belongs to the layers there.
    """
    output = output_of(apply, problem)
    (slope,) = torch.autograd.grad(output, problem.input, problem.cotangent, create_graph=True)
    value = channel_norm(slope.float() if slope.element_size() < 4 else slope).sub(1).square().sum()
    gradients = torch.autograd.grad(value, (problem.weight, problem.cotangent))
    return {
        "output": output.detach(),
        "slope": slope.detach(),
        **dict(zip(("weight", "cotangent"), gradients)),
    }


PHASES: dict[str, Callable[[Apply, Problem], Results]] = {
    "forward": forward,
    "backward": backward,
    "penalty": penalty,
}

TOLERANCE = {"float64": 1e-10, "float32": 1e-4, "tf32": 5e-3, "float16": 5e-3, "bfloat16": 4e-2}
"""Largest relative error ||out - exact|| / ||exact|| of any result that is still timed, by arithmetic."""


@contextmanager
def no_algorithm_search() -> Iterator[None]:
    """cuDNN chooses by rule: for one check in float64 its measurements cost more than they save."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def errors(phase: str, results: Results, problem: Problem) -> dict[str, float]:
    """Relative error of every result against a float64 loop of F.conv2d, on three samples of the batch.

    The exact result takes the side of the leaky ReLU from the output under test: where rounding decides the
    side, one flipped pixel would otherwise count as an error of the gradient.
    """
    count = len(problem.input)
    samples = sorted({0, count // 2, count - 1})
    positive = results["output"].detach()[samples] > 0

    def exact_layer(input: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        rows = [F.conv2d(x, w, b, stride, padding) for x, w, b in zip(input.split(1), weight, bias)]
        linear = torch.cat(rows)
        return torch.where(positive, linear, NEGATIVE_SLOPE * linear)

    with no_algorithm_search():
        exact = PHASES[phase](exact_layer, problem.of_samples(samples, torch.float64))
    return {
        name: ((results[name].detach()[samples].double() - value).norm() / value.norm()).item()
        for name, value in exact.items()
    }

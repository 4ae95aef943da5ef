"""Each of the six operators on a GPU by this package's own kernels, in every dtype and both memory formats.

Beside the same operator in float64 on plain PyTorch: at most twice the error of plain PyTorch in the dtype itself.
"""

from dataclasses import dataclass

import pytest
import torch
from each_sample import relative_error

import hyperconv
from hyperconv.memory_format import FORMATS
from hyperconv.ops.schema import OPERATIONS

ROUNDING = {torch.float64: 1e-14, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
TF32_ERROR = 3e-3


@dataclass(frozen=True)
class Layer:
    """A layer with everything of it that changes which kernel runs."""

    channels: tuple[int, int]
    size: tuple[int, int] = (19, 23)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    sets: int = 3
    share: int = 1

    @property
    def geometry(self) -> tuple:
        return list(self.stride), list(self.padding), list(self.dilation), self.groups

    @property
    def output_size(self) -> list[int]:
        sides = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return [(side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides]


LAYERS = {
    "first": Layer((3, 64)),
    "middle": Layer((64, 64), share=2),
    "image": Layer((64, 3)),
    "score": Layer((64, 1), padding=(0, 0)),
    "odd": Layer((17, 33), (31, 9), (2, 5), (1, 1), (0, 2), (2, 1)),
    "strided": Layer((6, 20), stride=(2, 3), dilation=(1, 2), padding=(2, 1)),
    "groups": Layer((12, 40), groups=2, share=3),
    "as large as the image": Layer((4, 9), (5, 7), (5, 7), padding=(0, 0)),
    "one pixel": Layer((8, 24), (1, 1), (1, 1), padding=(0, 0), sets=5),
    "large": Layer((32, 32), (75, 90), sets=2),
}

BOTH_FORMATS = ("first", "middle", "image", "odd")
CASES = [
    *((name, "nchw", dtype) for name in LAYERS for dtype in (torch.float32, torch.bfloat16, torch.float64)),
    *((name, "nhwc", dtype) for name in BOTH_FORMATS for dtype in (torch.float32, torch.bfloat16)),
    *((name, "nchw", torch.float16) for name in ("first", "middle")),
]


def call_of(operation: str, layer: Layer, device: str, masked: bool, layout: str) -> tuple:
    """Arguments in float64: weights and biases are views of one flat buffer."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, device=device, dtype=torch.float64)
        return values.contiguous(memory_format=FORMATS[layout]) if len(shape) == 4 else values

    samples, (channels, outputs) = layer.sets * layer.share, layer.channels
    shape = (outputs, channels // layer.groups, *layer.kernel)
    count = torch.Size(shape).numel()
    flat = normal(layer.sets, count + outputs + 3)
    weight = flat[:, :count].unflatten(1, shape) / (count / outputs) ** 0.5
    bias = flat[:, count : count + outputs]
    input, made = normal(samples, channels, *layer.size), normal(samples, outputs, *layer.output_size)
    mask = normal(*made.shape) if masked else None
    geometry, slope = layer.geometry, 0.2
    return {
        "conv2d": (input, weight, bias, *geometry, 2, slope),
        "masked_conv2d": (input, weight, bias, mask, *geometry, slope),
        "input_gradient": (made, weight, mask, list(layer.size), *geometry, slope),
        "weight_gradient": (made, input, mask, layer.sets, list(layer.kernel), *geometry, slope),
        "parameter_gradients": (made, input, mask, layer.sets, list(layer.kernel), *geometry, slope),
        "bias_gradient": (made, mask, layer.sets, slope),
    }[operation]


def run(operation: str, backend: str, arguments: tuple) -> tuple[torch.Tensor, ...]:
    with hyperconv.use_backend(backend):
        results = getattr(torch.ops.hyperconv, operation)(*arguments)
    return results if isinstance(results, tuple) else (results,)


def cast(arguments: tuple, dtype: torch.dtype) -> tuple:
    return tuple(a.to(dtype) if isinstance(a, torch.Tensor) else a for a in arguments)


def errors(operation: str, backend: str, arguments: tuple) -> list[float]:
    exact = run(operation, "reference", cast(arguments, torch.float64))
    results = run(operation, backend, arguments)
    for result, expected in zip(results, exact, strict=True):
        assert result.shape == expected.shape and result.dtype == arguments[0].dtype
        last = [
            tensor.is_contiguous(memory_format=torch.channels_last)
            for tensor in (result, expected)
            if result.dim() == 4
        ]
        assert len(set(last)) < 2, "another memory format than the reference's"
    return [relative_error(result, expected) for result, expected in zip(results, exact, strict=True)]


@pytest.mark.parametrize("name, layout, dtype", CASES, ids=[f"{n}-{f}-{str(d)[6:]}" for n, f, d in CASES])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_as_exact_as_plain_pytorch(device, own_kernels, operation, name, layout, dtype):
    for masked in (False, True):
        arguments = cast(call_of(operation, LAYERS[name], device, masked, layout), dtype)
        own, plain = (errors(operation, backend, arguments) for backend in (own_kernels, "reference"))
        for error, allowed in zip(own, plain, strict=True):
            assert error <= 2 * allowed + ROUNDING[dtype]


@pytest.mark.parametrize("layer", ["first", "middle", "image", "large"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_tf32_where_pytorch_allows_it(device, own_kernels, operation, layer):
    torch.backends.cudnn.allow_tf32 = True  # the fixture puts it back
    arguments = cast(call_of(operation, LAYERS[layer], device, True, "nchw"), torch.float32)
    assert max(errors(operation, own_kernels, arguments)) < TF32_ERROR


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_same_bits_every_time(device, own_kernels, operation):
    """And every element written: memory of the kind the result gets is poisoned before."""
    arguments = cast(call_of(operation, LAYERS["large"], device, True, "nchw"), torch.float32)
    first = run(operation, own_kernels, arguments)
    for _ in range(3):
        poison = [torch.full_like(result, float("nan")) for result in first]
        del poison
        for result, expected in zip(run(operation, own_kernels, arguments), first, strict=True):
            assert torch.equal(result, expected)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_replayed_from_a_cuda_graph(device, own_kernels, operation):
    arguments = cast(call_of(operation, LAYERS["middle"], device, True, "nchw"), torch.float32)
    eager = run(operation, own_kernels, arguments)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run(operation, own_kernels, arguments)
    for result in results:
        result.fill_(float("nan"))
    graph.replay()
    for result, expected in zip(results, eager, strict=True):
        assert torch.equal(result, expected)

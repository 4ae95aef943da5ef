"""The native operators on a GPU, each path, against the reference in float64."""

import pytest
import torch

import hyperconv
from hyperconv.ops import native, reference

DTYPES = {torch.float32: 4e-6, torch.float64: 1e-13, torch.bfloat16: 1e-2, torch.float16: 1e-3}
TF32 = 3e-3

# sets, samples of each, channels of a group into and out of it, size, kernel, stride, padding, dilation, groups
LAYERS = {
    "first": (4, 1, 3, 64, (128, 128), 3, 1, 1, 1, 1),
    "last": (4, 1, 64, 3, (128, 128), 3, 1, 1, 1, 1),
    "critic's last": (4, 2, 64, 1, (50, 51), 3, 1, 0, 1, 1),
    "wide": (4, 1, 64, 64, (128, 128), 3, 1, 1, 1, 1),
    "wide and small": (16, 1, 64, 64, (25, 25), 3, 1, 1, 1, 1),
    "wider": (2, 1, 128, 128, (64, 64), 3, 1, 1, 1, 1),
    "odd channels, groups": (3, 2, 19, 13, (33, 47), 3, 1, 1, 1, 2),
    "many tiny images": (2, 64, 32, 32, (4, 4), 3, 1, 1, 1, 1),
    "1 x 1 kernel": (4, 1, 70, 33, (32, 31), 1, 1, 0, 1, 1),
    "strided": (4, 1, 32, 48, (65, 64), 4, 2, 1, 1, 1),
    "strided and dilated": (2, 1, 16, 24, (61, 64), 3, 4, 5, 6, 1),
    "large kernel": (2, 1, 8, 8, (40, 40), 11, 1, 5, 1, 1),
    "depthwise": (4, 1, 1, 1, (40, 40), 3, 1, 1, 1, 32),
}


@pytest.fixture(autouse=True)
def native_runs():
    reason = hyperconv.backends()["native"]["cuda"]
    if reason is not None:
        pytest.skip(reason)


def operators(module, input, weight, bias, grad, mask, geometry):
    """Every operator's result, by name."""
    size, sets, kernel = tuple(input.shape[2:]), weight.shape[0], tuple(weight.shape[3:])
    results = {
        "conv2d": module.conv2d(input, weight, bias, *geometry, 2, 0.2),
        "masked_conv2d": module.masked_conv2d(input, weight, None, mask, *geometry, 0.2),
        "input_gradient": module.input_gradient(grad, weight, mask, size, *geometry, 0.2),
        "weight_gradient": module.weight_gradient(grad, input, mask, sets, kernel, *geometry, 0.2),
        "bias_gradient": module.bias_gradient(grad, mask, sets, 0.2),
    }
    both = module.parameter_gradients(grad, input, mask, sets, kernel, *geometry, 0.2)
    return results | dict(zip(("both: weight", "both: bias"), both, strict=True))


def tensors(name, device, dtype, memory_format):
    sets, shared, inputs, outputs, size, kernel, stride, padding, dilation, groups = LAYERS[name]
    geometry = ((stride, stride), (padding, padding), (dilation, dilation), groups)
    random = lambda *shape: torch.randn(shape, device=device).to(dtype)
    flat = random(sets, groups * outputs * (inputs * kernel * kernel + 1) + 3)
    count = groups * outputs * inputs * kernel * kernel
    weight = flat[:, 3 : 3 + count].unflatten(1, (groups * outputs, inputs, kernel, kernel))
    bias = flat[:, 3 + count :]
    input = random(sets * shared, groups * inputs, *size).to(memory_format=memory_format)
    output = reference.conv2d(input, weight, None, *geometry, 0, 0.0)
    grad, mask = (torch.randn_like(output) for _ in range(2))
    return input, weight, bias, grad, mask, geometry


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", [*DTYPES, "tf32"], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_every_operator(device, name, dtype, memory_format):
    tf32 = dtype == "tf32"
    dtype = torch.float32 if tf32 else dtype
    *values, geometry = tensors(name, device, dtype, memory_format)
    torch.backends.cudnn.allow_tf32 = tf32
    results = operators(native, *values, geometry)
    expected = operators(reference, *(value.double() for value in values), geometry)
    for operation, exact in expected.items():
        error = (results[operation].double() - exact).abs().max().item() / max(exact.abs().max().item(), 1)
        assert error <= (TF32 if tf32 else DTYPES[dtype]), operation


def test_the_same_bits_every_time(device):
    *values, geometry = tensors("wide and small", device, torch.bfloat16, torch.contiguous_format)
    first, second = (operators(native, *values, geometry) for _ in range(2))
    for operation, result in first.items():
        assert torch.equal(result, second[operation]), operation


def test_every_operator_in_a_cuda_graph(device):
    *values, geometry = tensors("wide and small", device, torch.bfloat16, torch.contiguous_format)
    expected = operators(native, *values, geometry)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = operators(native, *values, geometry)
    for result in results.values():
        result.zero_()
    graph.replay()
    torch.cuda.synchronize()
    for operation, result in results.items():
        assert torch.equal(result, expected[operation]), operation

"""The CUDA forward kernel, run on the CPU, against F.conv2d in float64 with one call for every weight set."""

import ctypes
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from host_library import build_and_load, is_sanitized, run_again
from hypothesis import assume, given, settings
from hypothesis import strategies as st

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-13, torch.bfloat16: 2e-2, torch.float16: 3e-3}
ACTIVATIONS = (lambda z: z, torch.relu, lambda z: F.leaky_relu(z, 0.2), torch.tanh)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    source = Path(__file__).with_name("forward_on_cpu.cpp")
    return build_and_load(source, tmp_path_factory.mktemp("kernel"))


@given(number=st.integers(0, 2**31 - 1), divisor=st.integers(1, 2**31 - 1), multiple=st.integers(1, 50))
@settings(max_examples=500)
def test_division_is_exact(kernel, number, divisor, multiple):
    kernel.quotient.restype = ctypes.c_uint32
    for value in (number, divisor * multiple, divisor * multiple - 1):
        value = min(value, 2**31 - 1)
        assert kernel.quotient(ctypes.c_uint32(value), ctypes.c_uint32(divisor)) == value // divisor


@st.composite
def layers(draw):
    """The numbers of a layer whose kernel fits into the padded image."""

    def pair(least, most):
        return draw(st.tuples(st.integers(least, most), st.integers(least, most)))

    layer = {name: pair(1, 3) for name in ("kernel", "stride", "dilation")}
    layer |= {"size": pair(1, 15), "padding": pair(0, 4)}
    layer |= {name: draw(st.integers(1, 3)) for name in ("sets", "shared", "groups")}
    layer |= {"inputs": draw(st.integers(1, 7)), "outputs": draw(st.sampled_from([1, 3, 4, 5, 12, 33, 65]))}
    for axis in (0, 1):
        padded = layer["size"][axis] + 2 * layer["padding"][axis]
        assume(padded > layer["dilation"][axis] * (layer["kernel"][axis] - 1))
    return layer


@given(
    layer=layers(),
    dtype=st.sampled_from(list(TOLERANCE)),
    sets=st.sampled_from(["own", "flat", "expanded"]),
    has_bias=st.booleans(),
    channels_last=st.booleans(),
    cropped=st.booleans(),
    activation=st.integers(0, 3),
    blocks=st.integers(1, 4),
    block_shape=st.integers(0, 2),
)
@settings(max_examples=20 if is_sanitized() else 60)
def test_forward_kernel(kernel, layer, dtype, sets, has_bias, channels_last, cropped, activation, blocks, block_shape):
    input = make_input(layer, channels_last, cropped).to(dtype)
    weight = make_weight(layer, sets, dtype)
    channels = layer["groups"] * layer["outputs"]
    bias = torch.randn(channels, layer["sets"]).to(dtype).t() if has_bias else None
    expected = ACTIVATIONS[activation](per_set(layer, input, weight, bias))
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    output = torch.full(expected.shape, torch.nan, dtype=dtype).contiguous(memory_format=memory_format)

    tensors = (input, weight, bias, output)
    numbers = [
        *(input.shape[0], layer["shared"], *layer["size"], *output.shape[2:]),
        *(*layer["stride"], *layer["padding"], *layer["dilation"]),
        *(layer["groups"], layer["inputs"], layer["outputs"], *layer["kernel"]),
        *(*input.stride(), *output.stride(), *(bias.stride() if has_bias else (0, 0)), weight.stride(0)),
        *(activation, blocks, block_shape),
    ]
    pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
    numbers = (ctypes.c_int64 * len(numbers))(*numbers)
    kernel.forward_on_cpu(list(TOLERANCE).index(dtype), *pointers, numbers, ctypes.c_double(0.2))
    error = (output.double() - expected).abs().max().item()
    assert error <= TOLERANCE[dtype] * max(expected.abs().max().item(), 1)


@pytest.mark.skipif(is_sanitized(), reason="this is that run")
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_no_access_leaves_its_memory_and_no_two_race(sanitizer):
    run_again(__file__, sanitizer, "test_forward_kernel")


def make_input(layer, channels_last, cropped):
    """(N, C_in, H, W), in either layout, whole or the corner of a larger image."""
    height, width = layer["size"]
    shape = (layer["sets"] * layer["shared"], layer["groups"] * layer["inputs"], height + 1, width + 2)
    larger = torch.randn(shape)
    larger = larger.to(memory_format=torch.channels_last) if channels_last else larger
    return larger[:, :, 1:, 2:] if cropped else larger[:, :, 1:, 2:].clone()


def make_weight(layer, sets, dtype):
    """(B, C_out, C_in/groups, kH, kW): a tensor of its own, views into a flat buffer, or one set expanded."""
    shape = (layer["groups"] * layer["outputs"], layer["inputs"], *layer["kernel"])
    size = torch.Size(shape).numel()
    flat = torch.randn(layer["sets"], size + 5).to(dtype)[:, 3 : 3 + size]
    if sets == "own":
        flat = flat.contiguous()
    elif sets == "expanded":
        flat = flat[:1].expand(layer["sets"], -1)
    return flat.unflatten(1, shape)


def per_set(layer, input, weight, bias):
    """The convolution in float64, a call of F.conv2d for each weight set."""
    geometry = (layer["stride"], layer["padding"], layer["dilation"], layer["groups"])
    samples = input.double().unflatten(0, (layer["sets"], layer["shared"]))
    biases = [None] * layer["sets"] if bias is None else bias.double()
    calls = zip(samples, weight.double(), biases, strict=True)
    return torch.cat([F.conv2d(one, kernel, shift, *geometry) for one, kernel, shift in calls])

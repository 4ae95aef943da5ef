"""The CUDA operators, their kernels run on the CPU, against a loop of `F.conv2d` in float64: every path, every dtype.

`forced` reaches with small problems what the operators choose for large ones: other tile shapes, 64-bit offsets,
several parts of a sum, several tiles per block, little shared memory.
"""

import pytest
import torch
from cuda_on_cpu import load
from host_library import is_sanitized, run_again
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_loop import CODES, Call, calls, convolve_each, tensors_of

TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-13, torch.bfloat16: 1e-2, torch.float16: 1e-3, "tf32": 3e-3}
LOW = (torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def cuda(tmp_path_factory):
    return load(tmp_path_factory)


def both(value):
    return (value, value)


def assert_near(output, expected, dtype, tf32):
    assert output.dtype == dtype
    assert output.shape == expected.shape
    error = (output.double() - expected).abs().max().item() if output.numel() else 0.0
    scale = max(expected.abs().max().item(), 1) if output.numel() else 1
    assert error <= TOLERANCE["tf32" if tf32 and dtype == torch.float32 else dtype] * scale


def assert_all_operators(cuda, call: Call, dtype, activation, tf32=False):
    """Every operator on `call` in `dtype`; what is right is computed from the rounded values."""
    call = call.to(dtype)
    exact = call.to(torch.float64)
    slope = call.negative_slope
    z = convolve_each(exact.input, exact.weight, exact.bias, *exact.geometry)
    activate = {"relu": torch.relu, "tanh": torch.tanh, None: lambda z: z}
    expected = activate.get(activation, lambda z: torch.where(z > 0, z, slope * z))(z)
    output = cuda.conv2d(call.input, call.weight, call.bias, *call.geometry, CODES[activation], slope)
    assert_near(output, expected, dtype, tf32)
    assert output.is_contiguous(memory_format=cuda.layout(call.input))
    for operation, right in exact.all_expected().items():
        outputs = getattr(cuda, operation)(*call.arguments(operation))
        for one, expected in zip(tensors_of(outputs), tensors_of(right), strict=True):
            assert_near(one, expected, dtype, tf32)


@given(number=st.integers(0, 2**31 - 1), divisor=st.integers(1, 2**31 - 1), multiple=st.integers(1, 50))
@settings(max_examples=500)
def test_division_is_exact(cuda, number, divisor, multiple):
    for value in (number, divisor * multiple, divisor * multiple - 1):
        value = min(value, 2**31 - 1)
        assert cuda.quotient(value, divisor) == value // divisor


@given(
    call=calls(),
    dtype=st.sampled_from([torch.float32, torch.float64, *LOW]),
    activation=st.sampled_from(list(CODES)),
    wide=st.booleans(),
    parts=st.integers(0, 3),
)
@settings(max_examples=60)
def test_gathered(cuda, call, dtype, activation, wide, parts):
    with cuda.forced(gather=True, wide=wide, parts=parts):
        assert_all_operators(cuda, call, dtype, activation)


@given(
    call=calls(),
    dtype=st.sampled_from([torch.float32, *LOW]),
    activation=st.sampled_from(list(CODES)),
    tf32=st.booleans(),
    shape=st.integers(0, 3),
    parts=st.integers(0, 3),
    blocks_wanted=st.sampled_from([0, 1]),
)
@settings(max_examples=120)
def test_tiles(cuda, call, dtype, activation, tf32, shape, parts, blocks_wanted):
    with cuda.forced(shape=shape, parts=parts, blocks_wanted=blocks_wanted, tf32=tf32):
        assert_all_operators(cuda, call, dtype, activation, tf32)


def layer(channels, size, kernel=3, sets=1, shared=1, stride=1, padding=1, dilation=1, groups=1) -> Call:
    """Random tensors of one layer; `channels` into and out of a group."""
    inputs, outputs = channels
    kernel, geometry = both(kernel), (both(stride), both(padding), both(dilation))
    input = torch.randn(sets * shared, groups * inputs, *size, dtype=torch.float64)
    weight = torch.randn(sets, groups * outputs, inputs, *kernel, dtype=torch.float64)
    bias = torch.randn(sets, groups * outputs, dtype=torch.float64)
    output = convolve_each(input, weight, None, *geometry, groups)
    grad, mask = torch.randn_like(output), torch.randn_like(output)
    return Call(input, weight, bias, (*geometry, groups), grad, mask, 0.2)


LAYERS = {
    "first layer": lambda: layer((3, 32), (17, 19), sets=2),
    "last layer": lambda: layer((32, 3), (17, 19), sets=2),
    "critic's last": lambda: layer((32, 1), (11, 13), sets=2, padding=0),
    "wide": lambda: layer((40, 72), (13, 11)),
    "odd channels": lambda: layer((19, 13), (9, 25), shared=2, groups=2),
    "tiny images share a tile": lambda: layer((16, 24), (3, 4), sets=2, shared=9),
    "1 x 1 images": lambda: layer((12, 20), (1, 1), sets=2, shared=5),
    "1 x 1 kernel": lambda: layer((70, 33), (8, 9), kernel=1, padding=0),
    "even kernel": lambda: layer((9, 10), (12, 10), kernel=4, stride=2),
    "kernel as large as the image": lambda: layer((6, 8), (7, 7), kernel=7, padding=0, shared=3),
    "stride beyond the kernel": lambda: layer((8, 9), (14, 11), kernel=2, stride=4),
    "stride and dilation with a common divisor": lambda: layer((8, 9), (15, 16), stride=4, dilation=6, padding=5),
    "dilated": lambda: layer((8, 8), (14, 15), dilation=5, padding=5),
    "depthwise": lambda: layer((1, 1), (9, 9), groups=20),
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("path", ["gather", "wide", 0, 1, 2, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(cuda, name, path, channels_last):
    call = LAYERS[name]()
    if channels_last:
        images = ("input", "grad", "mask")
        call = Call(**vars(call) | {n: getattr(call, n).to(memory_format=torch.channels_last) for n in images})
    tiles = path not in ("gather", "wide")
    choices = {"shape": path} if tiles else {"gather": True, "wide": path == "wide"}
    for dtype, tf32 in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False)):
        if tf32 and not tiles:
            continue
        with cuda.forced(**choices, parts=2, blocks_wanted=1, tf32=tf32):
            assert_all_operators(cuda, call, dtype, None, tf32)


@pytest.mark.parametrize("kilobytes", [160, 100, 64, 40, 24])
@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize(("dtype", "tf32"), [(torch.float32, False), (torch.float32, True), (torch.float16, False)])
def test_little_shared_memory(cuda, dtype, tf32, shape, kilobytes):
    """Weights go by in chunks, tiles shrink, and in the end the work goes to the other kernels."""
    call = layer((40, 40), (10, 9))
    with cuda.forced(shape=shape, shared_limit=kilobytes * 1024, blocks_wanted=1, tf32=tf32):
        assert_all_operators(cuda, call, dtype, "relu", tf32)


def test_tf32_only_when_allowed(cuda):
    call = layer((16, 16), (12, 12)).to(torch.float32)
    exact = convolve_each(*(t.double() for t in (call.input, call.weight, call.bias)), *call.geometry)
    errors = []
    for allowed in (False, True):
        with cuda.forced(tf32=allowed):
            output = cuda.conv2d(call.input, call.weight, call.bias, *call.geometry, 0, 0.0)
        errors.append((output - exact).abs().max().item())
    assert errors[0] < 1e-4 < errors[1] < 0.1


@pytest.mark.parametrize("channels", [(1, 8), (3, 16), (8, 1), (16, 24)])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_stays_where_it_belongs(cuda, channels, value):
    """A word that fills a chunk's last step meets zeros, not pixels: 0 * inf would be NaN."""
    call = layer(channels, (9, 9)).to(torch.float32)
    call.input[0, 0, 4, 4] = value
    expected = convolve_each(call.input, call.weight, call.bias, *call.geometry)
    with cuda.forced(shape=0, tf32=True):
        output = cuda.conv2d(call.input, call.weight, call.bias, *call.geometry, 0, 0.0)
    assert torch.equal(output.isnan(), expected.isnan())
    assert torch.equal(output.isinf(), expected.isinf())


def test_empty_batch(cuda):
    input, weight = torch.empty(0, 3, 5, 5), torch.empty(0, 4, 3, 3, 3)
    geometry = (both(1), both(0), both(1), 1)
    assert cuda.conv2d(input, weight, None, *geometry, 0, 0.0).shape == (0, 4, 3, 3)
    grad = torch.empty(0, 4, 3, 3)
    assert cuda.input_gradient(grad, weight, None, (5, 5), *geometry, 0.0).shape == input.shape
    assert cuda.weight_gradient(grad, input, None, 0, (3, 3), *geometry, 0.0).shape == weight.shape
    assert cuda.bias_gradient(grad, None, 0, 0.0).shape == (0, 4)
    weight, bias = cuda.parameter_gradients(grad, input, None, 2, (3, 3), *geometry, 0.0)
    assert not weight.any()
    assert not bias.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.ones(2, 4, 3, 3, 3)}, "3 samples cannot share 2 weight sets"),
        ({"weight": torch.ones(1, 4, 2, 3, 3)}, "input has 3 channels and the weight 2"),
        ({"weight": torch.ones(1, 4, 3, 3, 3).double()}, "must have the same dtype"),
        ({"bias": torch.ones(1, 5)}, r"bias must have shape \(1, 4\)"),
        ({"geometry": ((0, 1), (0, 0), (1, 1), 1)}, "stride must be positive"),
        ({"geometry": ((1, 1), (0, 0), (3, 1), 1)}, "the kernel covers 7 pixels and the padded input has 5"),
    ],
)
def test_bad_arguments(cuda, change, message):
    arguments = {"input": torch.ones(3, 3, 5, 5), "weight": torch.ones(1, 4, 3, 3, 3), "bias": None}
    arguments |= {"geometry": (both(1), both(0), both(1), 1)}
    arguments |= change
    geometry = arguments.pop("geometry")
    with pytest.raises(RuntimeError, match=message):
        cuda.conv2d(*arguments.values(), *geometry, 0, 0.0)


SANITIZED = {
    "address": "first-contiguous odd-channels_last tiny-contiguous even-channels_last critic-channels_last",
    "thread": "first-contiguous odd-channels_last tiny-contiguous",
}


def run_sanitized(sanitizer, layers):
    chosen = " or ".join(f"({layer.replace('-', ' and ')})" for layer in layers.split())
    run_again(__file__, sanitizer, f"test_layers and ({chosen})")


@pytest.mark.skipif(is_sanitized(), reason="this is that run")
@pytest.mark.parametrize("sanitizer", SANITIZED)
def test_no_access_leaves_its_memory_and_no_two_race(sanitizer):
    """Every path, each layer in one memory format."""
    run_sanitized(sanitizer, SANITIZED[sanitizer])


@pytest.mark.whole
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sanitizer", SANITIZED)
def test_no_access_leaves_its_memory_and_no_two_race_in_either_format(sanitizer):
    run_sanitized(sanitizer, "first odd tiny even critic")

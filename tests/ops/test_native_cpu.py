"""The CPU kernels themselves: every instruction set, tile and block shape, dtype conversion, and what may not leak."""

import threading

import fresh_process
import pytest
import torch
import torch.nn.functional as F
from sample_loop import CODES, FAMILY, Call, convolve_each, laid_out, largest_errors, tensors_of, weights_laid_out

from hyperconv.ops import native

UNIT = ((1, 1), (0, 0), (1, 1), 1)
SAME = ((1, 1), (1, 1), (1, 1), 1)


@pytest.fixture(autouse=True)
def library(native_backend):
    """Every test of this file needs the library."""


def random_call(sets, shared, channels, size, kernel, geometry, dtype=torch.float64, layout="contiguous"):
    """(in, out) channels per group; input, weight, bias, grad and mask of one call."""
    groups = geometry[3]
    input = torch.randn(sets * shared, channels[0] * groups, *size, dtype=dtype)
    weight = torch.randn(sets, channels[1] * groups, channels[0], *kernel, dtype=dtype)
    weight /= weight[0, 0].numel() ** 0.5  # outputs of order one: tanh bends, and does not only saturate
    bias = torch.randn(sets, channels[1] * groups, dtype=dtype)
    shape = convolve_each(input, weight, None, *geometry).shape
    grad, mask = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
    input, grad = laid_out(input, layout), laid_out(grad, layout)
    return Call(input, weights_laid_out(weight, "flat"), bias, geometry, grad, laid_out(mask, layout), 0.2)


def check(call, dtype, tolerance):
    """All six operations in `dtype` against the loop of `F.conv2d` in float64."""
    for name, error in largest_errors(native, call, dtype).items():
        assert error <= tolerance, f"{name}: error {error:.2e}, expected at most {tolerance:.2e}"


def check_many_shapes():
    """Tiles of every width, several row blocks, several samples of a set, strides, dilations, layouts, dtypes."""
    torch.manual_seed(0)
    for channels_out in range(1, 21):
        geometry = SAME if channels_out % 2 else ((2, 1), (1, 2), (1, 3), 2)
        call = random_call(2, 2, (3, channels_out), (19, 26), (3, 3), geometry)
        check(call, torch.float64, 1e-13)
        check(call, torch.float32, 1e-5)
    for layout in ("channels_last", "sliced", "transposed"):
        call = random_call(2, 1, (17, 5), (13, 40), (3, 2), ((1, 2), (2, 0), (2, 1), 1), layout=layout)
        check(call, torch.float32, 1e-5)
        check(call, torch.bfloat16, 2**-8)
        check(call, torch.float16, 2**-11)
    check(random_call(1, 1, (64, 40), (90, 70), (3, 3), SAME), torch.float32, 1e-5)  # several row blocks
    check(random_call(1, 1, (40, 64), (90, 70), (3, 3), SAME), torch.float32, 1e-5)


def check_rows_of_every_length():
    """Rows that fill no vector, one, or two and a part, read at strides of 1, 2 and 3, with masks."""
    torch.manual_seed(0)
    for width in range(1, 40):
        for stride in (1, 2, 3):
            call = random_call(2, 1, (3, 2), (4, width), (3, 3), ((1, stride), (1, 1), (1, 1), 1))
            check(call, torch.float64, 1e-13)
            check(call, torch.float32, 1e-5)


def test_every_instruction_set_of_this_machine():
    names = fresh_process.instruction_sets()
    assert "baseline" in names
    for name in names:
        assert fresh_process.call(native.instruction_set, instruction_set=name) == (name, None)
        fresh_process.call(check_many_shapes, instruction_set=name)
        fresh_process.call(check_rows_of_every_length, instruction_set=name)


def test_instruction_set_that_cannot_run_is_one_clear_line():
    problem = fresh_process.call(native.status, "cpu", instruction_set="imaginary")
    assert problem.startswith("HYPERCONV_CPU_ISA=imaginary cannot run on this machine: set it to one of ")
    assert "\n" not in problem
    with pytest.raises(RuntimeError, match=problem):
        fresh_process.call(fresh_process.convolve, instruction_set="imaginary")


@pytest.mark.parametrize(
    "size, kernel, geometry",
    [
        ((5, 9), (3, 3), ((7, 11), (1, 1), (1, 1), 1)),  # stride beyond the kernel: inputs that no output sees
        ((30, 8), (3, 2), ((1, 1), (25, 60), (25, 60), 1)),  # dilation beyond the image
        ((12, 9), (12, 9), UNIT),  # kernel as large as the image
        ((12, 9), (12, 9), ((2, 3), (4, 5), (1, 1), 1)),
        ((1, 40), (1, 7), ((1, 4), (0, 3), (1, 2), 1)),
        ((2, 2), (3, 3), ((1, 1), (9, 9), (1, 1), 1)),  # padding beyond the image
        ((31, 1), (5, 1), ((3, 1), (2, 0), (4, 1), 3)),
    ],
)
def test_extreme_geometry(size, kernel, geometry):
    for channels in ((2, 5), (5, 2)):
        check(random_call(2, 2, channels, size, kernel, geometry), torch.float64, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 2, 3, 7, 24, 32, 33, 255, 256, 257, 300])
def test_bias_gradient_of_interleaved_channels(channels, dtype):
    """Slices of channels, bands of rows, pixels that are read several at a time or lie apart; any layout of the mask."""
    torch.manual_seed(channels)
    wide = torch.randn(4, channels + 3, 37, 19, dtype=dtype).contiguous(memory_format=torch.channels_last)
    for grad in (wide[:, 1 : channels + 1], wide[:, :channels].contiguous(memory_format=torch.channels_last)):
        own = torch.randn(4, channels, 37, 19, dtype=dtype)
        for mask in (None, own, own.contiguous(memory_format=torch.channels_last), wide[:, 3:]):
            factor = 1.0 if mask is None else (mask > 0).double() * 0.8 + 0.2
            exact = (grad.double() * factor).sum((2, 3)).view(2, 2, channels).sum(1)
            bias = native.bias_gradient(grad, mask, 2, 0.2)
            assert bias.dtype == dtype
            error = (bias.double() - exact).abs().max() / exact.abs().max()
            assert error <= (1e-13 if dtype == torch.float64 else max(1e-6, torch.finfo(dtype).eps))


def test_results_do_not_depend_on_the_number_of_threads():
    calls = [
        random_call(1, 3, (9, 20), (70, 33), (3, 3), SAME, torch.float32),
        random_call(2, 2, (20, 3), (25, 25), (3, 3), ((2, 1), (1, 1), (1, 1), 2), torch.float32),
        random_call(1, 3, (64, 20), (45, 33), (3, 3), SAME, torch.float32),  # by Winograd's algorithm
        random_call(1, 3, (9, 300), (45, 33), (3, 3), SAME, torch.float32, "channels_last"),
    ]
    threads = torch.get_num_threads()
    try:
        for call in calls:
            results = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                outputs = [t for name in FAMILY for t in tensors_of(getattr(native, name)(*call.arguments(name)))]
                forward = native.conv2d(call.input, call.weight, call.bias, *call.geometry, CODES["tanh"], 0.0)
                results.append([*outputs, forward])
            for other in results[1:]:
                assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_calls_from_several_python_threads():
    call = random_call(2, 1, (8, 8), (20, 20), (3, 3), SAME, torch.float32)
    expected = native.masked_conv2d(*call.arguments("masked_conv2d"))
    wrong = []

    def work():
        for _ in range(20):
            if not torch.equal(native.masked_conv2d(*call.arguments("masked_conv2d")), expected):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "tanh"])
def test_nan_and_infinity_appear_where_they_should_and_only_there(activation):
    input, weight = torch.randn(2, 3, 21, 18), torch.rand(2, 4, 3, 3, 3) + 0.1
    input[0, 1, 10, 17] = float("nan")
    input[1, 2, 0, 0] = float("inf")
    output = native.conv2d(input, weight, None, *UNIT, CODES[activation], 0.2)
    expected = convolve_each(input, weight, None)
    assert torch.equal(output.isnan(), expected.isnan())
    if activation == "tanh":
        assert (output[expected.isinf()] == 1).all()
    else:
        assert torch.equal(output.isinf(), expected.isinf())


def test_nan_of_one_channel_stays_out_of_the_weight_gradient_of_others():
    for channels_in, channels_out in ((3, 4), (4, 3)):  # either factor is the one that is shifted
        input, grad = torch.randn(2, channels_in, 9, 11), torch.randn(2, channels_out, 7, 9)
        input[0, 1, 8, 10] = float("nan")
        gradient = native.weight_gradient(grad, input, None, 2, (3, 3), *UNIT, 0.0)
        clean = torch.ones(2, channels_in, dtype=torch.bool)
        clean[0, 1] = False
        assert gradient.transpose(1, 2)[clean].isfinite().all()
        assert gradient[0, :, 1].isnan().any()


def test_tanh_is_accurate_to_a_few_units_in_the_last_place():
    exponents = torch.linspace(-40, 6, 20000)
    x = torch.cat([2**exponents, -(2**exponents), torch.tensor([0.0, -0.0, 1e-40, float("inf"), -float("inf")])])
    output = native.conv2d(x.view(1, 1, 1, -1), torch.ones(1, 1, 1, 1, 1), None, *UNIT, CODES["tanh"], 0.0).flatten()
    exact = torch.tanh(x.double())
    error = (output.double() - exact).abs() / exact.abs().clamp(min=torch.finfo(torch.float32).tiny)
    assert error.max() < 4 * torch.finfo(torch.float32).eps
    assert output.abs().max() <= 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_low_precision_value_passes_unchanged(dtype):
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    one = torch.ones(1, 1, 1, 1, 1, dtype=dtype)
    y = native.conv2d(x.view(1, 1, 256, 256), one, None, *UNIT, 0, 0.0).flatten()
    known = ~x.isnan() & (x != 0)  # 0 * 1 + 0 loses the sign of a zero
    assert torch.equal(y.view(torch.int16)[known], x.view(torch.int16)[known])
    assert torch.equal(y.isnan(), x.isnan())
    assert (y[x == 0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_results_are_rounded_once_to_nearest_even(dtype):
    scales = 2.0 ** torch.linspace(-26, 16, 64 * 64)
    x, b = (torch.randn(64 * 64) * scales).to(dtype), torch.randn(1, 1).to(dtype)
    y = native.conv2d(x.view(1, 1, 64, 64), torch.ones(1, 1, 1, 1, 1, dtype=dtype), b, *UNIT, 0, 0.0).flatten()
    assert torch.equal(y, (x.float() + b.float().item()).to(dtype))


def test_output_large_enough_for_huge_pages():
    input, weight = torch.randn(1, 1, 262, 262), torch.randn(1, 128, 1, 3, 3)
    output = native.conv2d(input, weight, None, *SAME, 0, 0.0)
    assert output.numel() * 4 > 32 << 20
    torch.testing.assert_close(output, F.conv2d(input, weight[0], padding=1))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": torch.zeros(2, 4, 5, 3, 3)}, "the input has 3 channels and the weight 5 per group in 1 groups"),
        ({"weight": torch.zeros(3, 4, 3, 3, 3)}, "4 samples cannot share 3 weight sets"),
        ({"weight": torch.zeros(2, 4, 3, 3, 3).double()}, "weight is Double and input is Float"),
        ({"weight": torch.zeros(2, 4, 3, 12, 3)}, "the kernel covers 12 pixels and the padded input has 10 (height)"),
        ({"bias": torch.zeros(4)}, r"bias must have shape (2, 4), got (4)"),
        ({"mask": torch.zeros(4, 4, 8, 7)}, r"mask must have shape (4, 4, 8, 8), got (4, 4, 8, 7)"),
        ({"input": torch.zeros(4, 3, 8, 8, dtype=torch.int32)}, "expected float32, float64, bfloat16 or float16"),
    ],
)
def test_wrong_arguments_are_refused_before_a_kernel_runs(change, message):
    arguments = {
        "input": torch.zeros(4, 3, 8, 8), "weight": torch.zeros(2, 4, 3, 3, 3), "bias": None, "mask": None
    } | change  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        native.masked_conv2d(*arguments.values(), *SAME, 0.0)
    assert message in str(error.value)

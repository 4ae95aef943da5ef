"""Plans of the Triton kernels: when one is made, what it launches, how wide its indices are. No kernel runs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed")

import triton.language as tl

from hyperconv import kernels
from hyperconv.kernels import launch, operations
from hyperconv.kernels.accumulation import splits
from hyperconv.kernels.call import index_type
from hyperconv.kernels.correlation import gradient_axes, packed
from hyperconv.ops.schema import OPERATIONS

UNIT = ((1, 1), (0, 0), (1, 1), 1)
CHANNELS_LAST = torch.channels_last


@pytest.fixture
def launches(monkeypatch):
    """Names of the kernels in the order of their launches, which do nothing."""
    operations.forget_plans()
    names = []
    monkeypatch.setattr(launch.Launch, "__call__", lambda self, *_: names.append(self.kernel.fn.__name__))
    yield names
    operations.forget_plans()


@pytest.fixture
def tf32():
    before = torch.backends.cudnn.conv.fp32_precision
    yield lambda on: setattr(torch.backends.cudnn.conv, "fp32_precision", "tf32" if on else "ieee")
    torch.backends.cudnn.conv.fp32_precision = before


def convolve(input=None, weight=None, bias=None, geometry=UNIT, activation=0, slope=0.0):
    input = torch.zeros(4, 3, 8, 8) if input is None else input
    weight = torch.zeros(2, 5, 3, 3, 3) if weight is None else weight
    return kernels.conv2d(input, weight, bias, *geometry, activation, slope)


def at(offset, *shape, dtype=torch.float32):
    """A contiguous tensor that begins `offset` elements after an aligned address."""
    buffer = torch.zeros(offset + torch.Size(shape).numel(), dtype=dtype)
    return buffer[offset:].view(shape)


def test_same_call_same_plan(launches):
    for _ in range(3):
        convolve()
        convolve(at(0, 4, 3, 8, 8), at(4, 2, 5, 3, 3, 3))  # other memory, alike in all that counts
    assert len(operations._plans) == 1 and len(launches) == 6


DIFFERENT = {
    "input_size": {"input": torch.zeros(4, 3, 9, 8)},
    "samples": {"input": torch.zeros(2, 3, 8, 8)},
    "input_layout": {"input": torch.zeros(4, 3, 8, 8).contiguous(memory_format=CHANNELS_LAST)},
    "input_alignment": {"input": at(1, 4, 3, 8, 8)},
    "weight_alignment": {"weight": at(2, 2, 5, 3, 3, 3)},
    "weight_in_a_buffer": {"weight": torch.zeros(2, 200)[:, :135].unflatten(1, (5, 3, 3, 3))},
    "weight_expanded": {"weight": torch.zeros(1, 5, 3, 3, 3).expand(2, -1, -1, -1, -1)},
    "bias": {"bias": torch.zeros(2, 5)},
    "dtype": {"input": torch.zeros(4, 3, 8, 8).half(), "weight": torch.zeros(2, 5, 3, 3, 3).half()},
    "stride": {"geometry": ((1, 2), (0, 0), (1, 1), 1)},
    "padding": {"geometry": ((1, 1), (1, 0), (1, 1), 1)},
    "dilation": {"geometry": ((1, 1), (0, 0), (1, 2), 1)},
    "activation": {"activation": 1},
    "negative_slope": {"activation": 2, "slope": 0.1},
}


@pytest.mark.parametrize("change", DIFFERENT)
def test_different_call_different_plan(launches, change):
    convolve()
    convolve(**DIFFERENT[change])
    convolve()
    assert len(operations._plans) == 2


def test_switch_of_tf32_makes_a_plan_of_its_own(launches, tf32):
    grad, input, weight = torch.zeros(4, 5, 6, 6), torch.zeros(4, 3, 8, 8), torch.zeros(2, 5, 3, 3, 3)
    for on in (True, False, True):
        tf32(on)
        convolve()
        kernels.input_gradient(grad, weight, None, (8, 8), *UNIT, 0.0)
        kernels.weight_gradient(grad, input, None, 2, (3, 3), *UNIT, 0.0)
        convolve(input.double(), weight.double())
    assert len(operations._plans) == 2 * 3 + 1


def test_forgotten_plans_are_made_anew(launches):
    convolve()
    (first,) = operations._plans.values()
    operations.forget_plans()
    assert not operations._plans
    convolve()
    (second,) = operations._plans.values()
    assert first is not second


def calls(stride=1, channels=(3, 5), size=8, masked=True):
    """Arguments of all operators on 2 weight sets and 3x3 taps."""
    input, weight = torch.zeros(4, channels[0], size, size), torch.zeros(2, channels[1], channels[0], 3, 3)
    out = (size - 3) // stride + 1
    grad = torch.zeros(4, channels[1], out, out)
    mask = grad.clone() if masked else None
    tail = ((stride, stride), (0, 0), (1, 1), 1, 0.2)
    return {
        "conv2d": (input, weight, torch.zeros(2, channels[1]), *tail[:-1], 1, 0.0),
        "masked_conv2d": (input, weight, None, mask, *tail),
        "input_gradient": (grad, weight, mask, (size, size), *tail),
        "weight_gradient": (grad, input, mask, 2, (3, 3), *tail),
        "parameter_gradients": (grad, input, mask, 2, (3, 3), *tail),
        "bias_gradient": (grad, mask, 2, 0.2),
    }


ONE_CORRELATION, ONE_SUM = ["correlate"], ["accumulate"]
BY_INPUT, BY_WEIGHT = {"input_gradient"}, {"weight_gradient", "parameter_gradients"}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    "options, masked_first, expected",
    [
        ({}, BY_INPUT, [ONE_CORRELATION, ONE_CORRELATION, ["correlate_thin"], ONE_SUM, ONE_SUM, ["sum_pixels"]]),
        ({"channels": (20, 20)}, BY_INPUT | BY_WEIGHT, [ONE_CORRELATION] * 3 + [ONE_SUM] * 2 + [["sum_pixels"]]),
        # four residues; the exchanged sum leaves the bias to a launch of its own
        (
            {"channels": (20, 9), "stride": 2},
            BY_WEIGHT,
            [ONE_CORRELATION] * 2 + [ONE_CORRELATION * 4] + [ONE_SUM] * 2 + [["sum_pixels"]],
        ),
        (
            {"channels": (20, 5), "size": 5},
            BY_INPUT,
            [ONE_CORRELATION] * 3 + [ONE_SUM, [*ONE_SUM, "sum_pixels"], ["sum_pixels"]],
        ),
        (
            {"channels": (1, 16), "size": 40},
            BY_INPUT,  # few programs and many pixels: splits, and one launch to add them
            [ONE_CORRELATION] * 2 + [["correlate_thin"]] + [["accumulate", "combine"]] * 2 + [["sum_pixels"]],
        ),
    ],
    ids=["flat", "wide", "strided", "exchanged", "splits"],
)
def test_launches_of_every_operator(launches, options, masked_first, expected, masked):
    """No more of them than the work needs; the packing of weights is PyTorch's copy.

    What a kernel would mask anew for every tap is masked once, before it.
    """
    for (operation, arguments), kernels_run in zip(calls(**options, masked=masked).items(), expected, strict=True):
        launches.clear()
        getattr(kernels, operation)(*arguments)
        assert launches == ["prepare"] * (masked and operation in masked_first) + kernels_run, operation


def test_residues_without_taps_launch_nothing(launches):
    """1x1 taps and stride 3: of 9 residues one is reached, and the others are set to zero."""
    grad, weight = torch.zeros(2, 5, 3, 3), torch.zeros(2, 5, 9, 1, 1)
    kernels.input_gradient(grad, weight, None, (7, 9), (3, 3), (0, 0), (1, 1), 1, 0.0)
    assert len(launches) == 1


def test_nothing_is_launched_for_an_empty_batch(launches):
    nothing = {"input": torch.zeros(0, 3, 8, 8), "weight": torch.zeros(0, 5, 3, 3, 3)}
    assert convolve(**nothing).shape == (0, 5, 6, 6)
    grad = torch.zeros(0, 5, 6, 6)
    assert kernels.weight_gradient(grad, nothing["input"], None, 2, (3, 3), *UNIT, 0.0).shape == (2, 5, 3, 3, 3)
    assert kernels.bias_gradient(grad, None, 0, 0.0).shape == (0, 5)
    assert kernels.input_gradient(grad, nothing["weight"], None, (8, 8), *UNIT, 0.0).shape == (0, 3, 8, 8)
    assert not launches


class Binder:
    """Stands in for a `triton.jit` kernel: counts what goes through it, and what goes to its compiled kernel."""

    def __init__(self):
        self.bound, self.direct = [], []

    def __getitem__(self, grid):
        def bind(*arguments, **options):
            self.bound.append((grid, arguments, options))
            return Compiled(self.direct)

        return bind


class Compiled:
    def __init__(self, calls):
        self.calls = calls

    def __getitem__(self, grid):
        return lambda *arguments: self.calls.append((grid, arguments))


def test_second_launch_goes_straight_to_the_compiled_kernel(monkeypatch):
    monkeypatch.setattr(launch, "INTERPRETED", False)
    kernel, tensors = Binder(), [(torch.zeros(1), None), (torch.ones(1), None), (torch.ones(2), None)]
    run = launch.Launch(kernel, 7, ((4, 1), 3), (True, 0.2), warps=8, stages=2)
    for pair in tensors:
        run(*pair)
    ((grid, arguments, options),) = kernel.bound
    assert grid == (7,) and arguments == (*tensors[0], (4, 1), 3, True, 0.2)
    assert options["num_warps"] == 8 and options["num_stages"] == 2
    assert kernel.direct == [((7, 1, 1), (*pair, (4, 1), 3, True, 0.2)) for pair in tensors[1:]]


@given(
    size=st.integers(1, 12), taps=st.integers(1, 5), stride=st.integers(1, 5), padding=st.integers(0, 6),
    dilation=st.integers(1, 5),
)  # fmt: skip
def test_axes_of_the_input_gradient(size, taps, stride, padding, dilation):
    """Every pixel once, and each tap that reaches it from the gradient where the convolution sent it."""
    out = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    found, pixels = set(), []
    for axis in gradient_axes(size, taps, stride, padding, dilation):
        assert axis.taps == len(range(taps)[axis.weights]) and axis.size == len(range(size)[axis.destinations])
        for t, pixel in enumerate(range(size)[axis.destinations]):
            pixels.append(pixel)
            for j, tap in enumerate(range(taps)[axis.weights]):
                read = t * axis.step + j * axis.spacing + axis.first
                if 0 <= read < out:
                    found.add((pixel, tap, read))
    sent = {(o * stride + j * dilation - padding, j, o) for o in range(max(out, 0)) for j in range(taps)}
    assert sorted(pixels) == list(range(size))
    assert found == {link for link in sent if 0 <= link[0] < size}


@given(programs=st.integers(1, 3000), tiles=st.integers(1, 5000))
def test_no_split_is_empty(programs, tiles):
    count = splits(programs, tiles, torch.device("cpu"))
    share = -(-tiles // count)
    assert 1 <= count <= tiles and (count - 1) * share < tiles <= count * share


LIMIT = 2**31 - 2**16


def huge(shape, strides):
    """A tensor of any size, without memory."""
    return torch.empty_strided(shape, strides, device="meta")


@pytest.mark.parametrize(
    "tensor, wide",
    [
        (huge((2, 64, 5000, 5000), (64 * 5000**2, 5000**2, 5000, 1)), False),
        (huge((2, 64, 6000, 6000), (64 * 6000**2, 6000**2, 6000, 1)), True),
        (huge((2, 64, 6000, 6000), (64 * 6000**2, 1, 6000 * 64, 64)), True),
        (huge((4000, 1, 1000, 1000), (1000**2, 1000**2, 1000, 1)), False),  # between samples offsets are 64-bit
        (huge((2, 3, 8, 8), (10**12, 64, 8, 1)), False),
        (huge((2, 3, 8, 8), (10, 64, 2**30, 1)), True),  # a view whose rows lie far apart
        (huge((1, 2, 1, 1), (1, LIMIT - 1, 1, 1)), False),
        (huge((1, 2, 1, 1), (1, LIMIT, 1, 1)), True),
        (huge((1, 1, 1, 1), (1, 2**40, 2**40, 2**40)), False),
        (huge((0, 64, 6000, 6000), (1, 6000**2, 6000, 1)), False),
        (huge((4, 512, 512, 3, 3), (0, 512 * 9, 9, 3, 1)), False),
        (huge((4, 20000, 20000, 3, 3), (0, 20000 * 9, 9, 3, 1)), True),
    ],
)
def test_width_of_indices(tensor, wide):
    expected = tl.int64 if wide else tl.int32
    small = torch.zeros(2, 3, 4, 4)
    assert index_type(100, tensor) is expected
    assert index_type(100, small, None, tensor) is expected


def test_width_of_pixel_numbers():
    small = torch.zeros(2, 3, 4, 4)
    assert index_type(LIMIT - 1, small, None) is tl.int32
    assert index_type(LIMIT, small, None) is tl.int64


def test_plans_of_huge_tensors_use_wide_indices():
    """The operators themselves, on tensors without memory: any one of them makes the indices wide."""
    operations.forget_plans()
    far = huge((2, 3, 8, 8), (10, 64, 2**30, 1))
    near, weight, mask = huge((2, 3, 8, 8), (192, 64, 8, 1)), huge((2, 3, 3, 1, 1), (9, 3, 1, 1, 1)), far
    none = (*UNIT, 0.0)
    with launch.rehearse("9.0") as rehearsed:
        for source, of_mask in ((near, None), (far, None), (near, mask)):
            kernels.masked_conv2d(source, weight, None, of_mask, *none)
            kernels.input_gradient(source, weight, of_mask, (8, 8), *none)
            kernels.weight_gradient(source, near, of_mask, 2, (1, 1), *none)
            kernels.bias_gradient(source, of_mask, 2, 0.0)
    operations.forget_plans()
    widths = [next(c for c in run.constants if c in (tl.int32, tl.int64)) for run, _ in rehearsed]
    assert widths == [tl.int32] * 4 + [tl.int64] * 8


@pytest.mark.parametrize("transposed", [False, True])
def test_packed_weights(transposed):
    """The channels that are summed lie side by side; a weight shared by all sets is packed once."""
    weight = torch.randn(3, 4, 5, 2, 3)
    result = packed(weight, transposed)
    assert torch.equal(result, weight)
    assert result.stride(1 if transposed else 2) == 1
    shared = packed(weight[:1].expand(3, -1, -1, -1, -1), transposed)
    assert shared.stride(0) == 0 and shared.untyped_storage().nbytes() == weight[0].numel() * 4
    assert torch.equal(shared, weight[:1].expand_as(weight))


def test_operators_of_the_package():
    assert kernels.OPERATIONS == OPERATIONS and all(callable(getattr(kernels, name)) for name in OPERATIONS)
    with pytest.raises(AttributeError, match="no attribute 'transposed_conv2d'"):
        kernels.transposed_conv2d  # noqa: B018

"""Layers of few channels in the CPU kernels: rows two at a time, and output channels tap by tap, at all their edges."""

import fresh_process
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_loop import FAMILY, Call, call_of, check_errors, check_every_dtype, convolve_each, tensors_of

from hyperconv.ops import native

SAME = ((1, 1), (1, 1), (1, 1), 1)
THIN = [(3, 64), (64, 3), (3, 32), (1, 16), (64, 1), (4, 9), (9, 4), (2, 8)]


@st.composite
def thin_calls(draw):
    """1 to 4 channels on one side; widths around whole vectors and tiles of every instruction set, in float64."""
    thin, other = draw(st.integers(1, 4)), draw(st.sampled_from([1, 7, 8, 9, 13, 16, 24]))
    channels_in, channels_out = (thin, other) if draw(st.booleans()) else (other, thin)
    sets, shared, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = draw(st.sampled_from([3, 3, 3, 1, 2, 5])), draw(st.integers(1, 5))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    stride = draw(st.sampled_from([(1, 1)] * 4 + [(1, 2), (2, 1)]))
    dilation = draw(st.sampled_from([(1, 1)] * 4 + [(1, 2), (2, 1)]))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    out = draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 25, 31, 33, 48, 49, 65]))
    size = [max(1, s * (n - 1) + 1 + r - 2 * p) for n, s, r, p in zip(out, stride, reach, padding, strict=True)]
    return call_of(draw, sets, shared, (channels_in, channels_out), kernel, size, (stride, padding, dilation, groups))


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(thin_calls())
def check_edges(call):
    check_every_dtype(call)


@pytest.mark.parametrize("algorithm", ["", "row_pairs", "tap_planes"])
def test_edges_on_every_instruction_set(native_backend, algorithm):
    for name in fresh_process.instruction_sets():
        fresh_process.call(check_edges, instruction_set=name, algorithm=algorithm)


@pytest.mark.parametrize("channels", THIN, ids=str)
@pytest.mark.parametrize("size", [(12, 12), (25, 25), (48, 50)], ids=str)
def test_error_is_at_most_twice_that_of_pytorch(native_backend, channels, size):
    check_errors(channels, size)


def test_error_without_fused_sums_is_at_most_twice_that_of_pytorch_without(native_backend):
    for channels in THIN:
        fresh_process.call(check_errors, channels, (25, 25), instruction_set="baseline")


@pytest.mark.parametrize("channels", [(3, 16), (16, 3)], ids=str)
def test_nan_reaches_the_outputs_that_read_it_and_at_most_the_other_row_of_a_pair(native_backend, channels):
    input, weight = torch.randn(2, channels[0], 21, 18), torch.rand(2, channels[1], channels[0], 3, 3) + 0.1
    input[0, 1, 10, 17], input[1, 2, 0, 0] = float("nan"), float("inf")
    wrong = ~native.conv2d(input, weight, None, *SAME, 0, 0.0).isfinite()
    expected = ~convolve_each(input, weight, None, *SAME[:3], 1).isfinite()
    rows = torch.nn.functional.max_pool2d(expected.float(), (3, 1), 1, (1, 0)).bool()
    assert wrong[expected].all()
    assert not wrong[~rows].any()


def test_nan_of_one_channel_stays_out_of_the_weight_gradient_of_others(native_backend):
    for channels_in, channels_out in ((3, 8), (8, 3)):  # either factor is the one with transformed taps
        input, grad = torch.randn(2, channels_in, 9, 11), torch.randn(2, channels_out, 9, 11)
        input[0, 1, 8, 10], grad[1, 2, 8, 10] = float("nan"), float("inf")
        gradient = native.weight_gradient(grad, input, None, 2, (3, 3), *SAME, 0.0)
        clean = torch.ones(2, channels_out, channels_in, dtype=torch.bool)
        clean[0, :, 1] = clean[1, 2] = False
        assert gradient[clean].isfinite().all()
        assert gradient[0, :, 1].isnan().any()


def test_results_do_not_depend_on_the_number_of_threads(native_backend):
    torch.manual_seed(0)
    threads, calls = torch.get_num_threads(), []
    for channels_in, channels_out in ((3, 32), (32, 3)):
        input, weight = torch.randn(2, channels_in, 70, 33), torch.randn(1, channels_out, channels_in, 3, 3)
        calls.append(Call(input, weight, None, SAME, *torch.randn(2, 2, channels_out, 70, 33), 0.2))
    try:
        for call in calls:
            results = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                results.append([t for name in FAMILY for t in tensors_of(getattr(native, name)(*call.arguments(name)))])
            for other in results[1:]:
                assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    finally:
        torch.set_num_threads(threads)

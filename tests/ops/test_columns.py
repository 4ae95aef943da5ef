"""Few pixels under wide weights: the CPU kernels that take the pixels as columns, at all their edges."""

import fresh_process
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_loop import FAMILY, Call, call_of, check_errors, check_every_dtype, convolve_each, tensors_of

from hyperconv.ops import native

SAME = ((1, 1), (1, 1), (1, 1), 1)


@st.composite
def few_pixels(draw):
    """Images of a few pixels; channels around whole vectors, register tiles and blocks of channels, in float64."""
    channels = st.sampled_from([1, 2, 5, 8, 11, 12, 13, 16, 24, 25, 33, 60])
    sets, shared, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    channels_in, channels_out = draw(channels), draw(channels)
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (4, 4), (2, 5), (7, 7)]))
    stride, dilation = (draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3)])) for _ in range(2))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    out = draw(st.sampled_from([(1, 1), (2, 2), (4, 4), (1, 7), (3, 5), (5, 5)]))
    size = [
        max(1, s * (n - 1) + 1 + d * (k - 1) - 2 * p)
        for n, s, d, k, p in zip(out, stride, dilation, kernel, padding, strict=True)
    ]
    return call_of(draw, sets, shared, (channels_in, channels_out), kernel, size, (stride, padding, dilation, groups))


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(few_pixels())
def check_edges(call):
    check_every_dtype(call)


@pytest.mark.parametrize("algorithm", ["", "columns"])
def test_edges_on_every_instruction_set(native_backend, algorithm):
    for name in fresh_process.instruction_sets():
        fresh_process.call(check_edges, instruction_set=name, algorithm=algorithm)


ALONE = ((1, 1), (0, 0), (1, 1), 1)
LAYERS = [  # channels, size, kernel, geometry, samples that share weights
    ((64, 64), (4, 4), 3, SAME),
    ((256, 128), (2, 2), 3, SAME),
    ((32, 64), (8, 8), 4, ((2, 2), (1, 1), (1, 1), 1)),
    ((3, 64), (16, 16), 4, ((2, 2), (1, 1), (1, 1), 1)),
    ((64, 96), (12, 12), 3, ((2, 2), (1, 1), (1, 1), 1)),
    ((128, 16), (4, 4), 4, ALONE),
    ((48, 48), (3, 3), 1, ALONE),
    ((8, 12), (7, 7), 1, ALONE, 16),
    ((4, 512), (6, 6), 1, ALONE, 16),
    ((64, 64), (4, 4), 3, SAME, 16),
    ((256, 64), (4, 4), 4, ALONE),
    ((64, 64), (2, 2), 3, SAME, 2),
    ((512, 24), (1, 1), 1, ALONE, 3),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_error_is_at_most_twice_that_of_pytorch(native_backend, layer):
    check_errors(*layer)


def test_error_without_fused_sums_is_at_most_twice_that_of_pytorch_without(native_backend):
    for layer in LAYERS:
        fresh_process.call(check_errors, *layer, instruction_set="baseline")


def test_nan_reaches_what_reads_it_and_nothing_else(native_backend):
    """Sums over padding and over zeros behind the weights' rows must not spread it."""
    input, weight = torch.randn(4, 33, 4, 4), torch.rand(2, 20, 33, 3, 3) + 0.1
    input[1, 5, 0, 0], weight[1, 7, 2, 1, 1] = float("nan"), float("inf")
    ours, right = native.conv2d(input, weight, None, *SAME, 0, 0.0), convolve_each(input, weight, None, *SAME)
    assert torch.equal(ours.isfinite(), right.isfinite())
    grad = torch.randn(4, 20, 4, 4)
    call = Call(input, weight, None, SAME, grad, None, 0.0)
    for name in ("input_gradient", "weight_gradient"):
        assert torch.equal(getattr(native, name)(*call.arguments(name)).isfinite(), call.expected(name).isfinite())


def test_infinite_weights_behind_a_block_of_channels_meet_no_zeros(native_backend):
    """Of one pixel, vectors lie along the weights, whose blocks of ten channels end within one."""
    input, weight = torch.rand(2, 33, 7, 7) + 0.1, torch.rand(2, 5, 33, 7, 7) + 0.1
    weight[1, 3, 10, 0, 0] = float("inf")
    ours = native.conv2d(input, weight, None, *ALONE, 0, 0.0).flatten(1)
    right = convolve_each(input, weight, None, *ALONE).flatten(1)
    assert ours[1, 3] == float("inf") and ours.isfinite().sum() == 9
    torch.testing.assert_close(ours, right)


def test_a_sample_does_not_depend_on_its_batch(native_backend):
    input, weight = torch.randn(3, 64, 4, 4), torch.randn(3, 48, 64, 3, 3)
    together = native.conv2d(input, weight, None, *SAME, 0, 0.0)
    assert torch.equal(together[1:2], native.conv2d(input[1:2], weight[1:2], None, *SAME, 0, 0.0))


def test_results_do_not_depend_on_the_number_of_threads(native_backend):
    threads, results = torch.get_num_threads(), []
    input, weight = torch.randn(6, 40, 5, 5), torch.randn(2, 50, 40, 3, 3)
    call = Call(input, weight, torch.randn(2, 50), SAME, *torch.randn(2, 6, 50, 5, 5), 0.2)
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append([t for name in FAMILY for t in tensors_of(getattr(native, name)(*call.arguments(name)))])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))

"""Winograd's algorithm in the CPU kernels: every tile size and instruction set at the edges of tiles, and its error."""

import dataclasses

import fresh_process
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_loop import Call, check_errors, laid_out, largest_errors, tensors_of, weights_laid_out

from hyperconv.ops import native

ALGORITHMS = ("columns", "direct", "row_pairs", "tap_planes", "winograd2", "winograd3", "winograd4")
SAME = ((1, 1), (1, 1), (1, 1), 1)
THREES = ((3, 3), (1, 1))
KERNELS = [
    THREES, THREES, THREES, ((4, 4), (2, 2)), ((5, 5), (1, 1)), ((2, 2), (1, 1)), ((4, 3), (2, 1)), ((7, 5), (3, 2)),
    ((3, 3), (1, 2)), ((3, 3), (2, 1)),
]  # fmt: skip


@st.composite
def edge_calls(draw):
    """Dense 3x3 kernels and such as are cut into parts; sizes around whole tiles and blocks, channels around whole
    vectors and panels, in float64."""
    edges = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 17])
    channels = st.sampled_from([1, 3, 4, 5, 8, 9, 15, 16, 17, 33])
    sets, shared, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    channels_in, channels_out = draw(channels), draw(channels)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    kernel, stride = draw(st.sampled_from(KERNELS))
    axes = list(zip((draw(edges), draw(edges)), kernel, stride, padding, strict=True))
    size = [max(1, k - 2 * p, (n - 1) * s + k - 2 * p + draw(st.integers(0, s - 1))) for n, k, s, p in axes]
    out = [(n + 2 * p - k) // s + 1 for n, (_, k, s, p) in zip(size, axes, strict=True)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    random = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    layouts = st.sampled_from(["contiguous", "channels_last", "sliced", "transposed"])
    images = (sets * shared, groups * channels_in, *size), (sets * shared, groups * channels_out, *out)
    weight = random(sets, groups * channels_out, channels_in, *kernel) / (kernel[0] * kernel[1] * channels_in) ** 0.5
    return Call(
        input=laid_out(random(*images[0]), draw(layouts)),
        weight=weights_laid_out(weight, draw(st.sampled_from(["contiguous", "flat", "expanded", "permuted"]))),
        bias=random(sets, groups * channels_out) if draw(st.booleans()) else None,
        geometry=(stride, padding, (1, 1), groups),
        grad=laid_out(random(*images[1]), draw(layouts)),
        mask=laid_out(random(*images[1]), draw(layouts)) if draw(st.booleans()) else None,
        negative_slope=0.2,
    )


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(edge_calls())
def check_edges(call):
    call = dataclasses.replace(call, weight=call.weight.float().double())
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        for name, error in largest_errors(native, call, dtype).items():
            assert error <= tolerance, f"{name} in {dtype}: error {error:.1e}, expected at most {tolerance:.0e}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_edges_of_tiles_on_every_instruction_set(native_backend, algorithm):
    for name in fresh_process.instruction_sets():
        fresh_process.call(check_edges, instruction_set=name, algorithm=algorithm)


@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 2), (1, 1)), ((2, 1), (1, 1)), ((2, 2), (1, 2)), ((2, 2), (2, 1)), ((2, 3), (1, 3))]
)
def test_a_kernel_cut_along_one_axis_alone(native_backend, stride, dilation):
    generator = torch.Generator().manual_seed(0)
    random = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    outputs = (17, 19)
    size = [(n - 1) * s + 2 * d - 1 for n, s, d in zip(outputs, stride, dilation, strict=True)]
    call = Call(
        input=random(2, 32, *size),
        weight=random(2, 48, 32, 3, 3).float().double() / 17,
        bias=None,
        geometry=(stride, (1, 1), dilation, 1),
        grad=random(2, 48, *outputs),
        mask=None,
        negative_slope=0.2,
    )
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        assert max(largest_errors(native, call, dtype).values()) <= tolerance


def test_algorithm_that_does_not_exist_is_one_clear_line(native_backend):
    known = "set it to direct, tiles, columns, tap_planes, winograd2, winograd3, winograd4 or row_pairs"
    with pytest.raises(RuntimeError, match=f"HYPERCONV_CPU_ALGORITHM is 'imaginary': {known}"):
        fresh_process.call(fresh_process.convolve, algorithm="imaginary")


@pytest.mark.parametrize("channels", [(16, 16), (32, 32), (64, 64), (32, 64), (64, 32), (128, 128)], ids=str)
@pytest.mark.parametrize("size", [(5, 5), (7, 6), (8, 8), (12, 12), (25, 25), (33, 32), (48, 50)], ids=str)
def test_error_is_at_most_twice_that_of_pytorch(native_backend, channels, size):
    check_errors(channels, size)


@pytest.mark.parametrize("size", [(8, 8), (64, 64)], ids=str)
def test_error_without_fused_sums_is_at_most_twice_that_of_pytorch_without(native_backend, size):
    for channels in ((16, 16), (64, 32)):
        fresh_process.call(check_errors, channels, size, instruction_set="baseline")


@pytest.mark.parametrize("channels", [(32, 32), (64, 64), (32, 64), (64, 32)], ids=str)
@pytest.mark.parametrize(
    ("size", "kernel", "geometry"),
    [
        ((32, 32), 4, ((2, 2), (1, 1), (1, 1), 1)),
        ((64, 50), 4, ((2, 2), (1, 1), (1, 1), 1)),
        ((33, 40), 3, ((2, 2), (1, 1), (1, 1), 1)),
        ((17, 20), 5, ((1, 1), (2, 2), (1, 1), 1)),
        ((30, 31), 4, ((1, 1), (1, 1), (1, 1), 1)),
    ],
    ids=str,
)
def test_error_of_a_kernel_in_parts_is_at_most_twice_that_of_pytorch(native_backend, channels, size, kernel, geometry):
    check_errors(channels, size, kernel, geometry)


def test_a_sample_does_not_depend_on_its_batch(native_backend):
    torch.manual_seed(0)
    input, weight = torch.randn(3, 64, 37, 41), torch.randn(3, 64, 64, 3, 3)
    together = native.masked_conv2d(input, weight, None, None, *SAME, 0.0)
    alone = native.masked_conv2d(input[1:2], weight[1:2], None, None, *SAME, 0.0)
    assert torch.equal(together[1:2], alone)


THREADS = (1, 2, 3, 4)


@pytest.mark.parametrize("sets", [1, 2, 3])
@pytest.mark.parametrize(("size", "kernel", "stride"), [(25, 3, 1), (70, 3, 1), (52, 4, 2)], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(native_backend, sets, size, kernel, stride):
    """Bit for bit: threads share out parts of the output channels, and sums over pixels keep their order."""
    torch.manual_seed(0)
    geometry = ((stride, stride), (1, 1), (1, 1), 1)
    input, weight = torch.randn(3 * sets, 40, size, size), torch.randn(sets, 72, 40, kernel, kernel)
    grad = torch.randn(3 * sets, 72, size // stride, size // stride)
    call = Call(input, weight, torch.randn(sets, 72), geometry, grad, torch.randn_like(grad), 0.2)
    before, results = torch.get_num_threads(), []
    for threads in THREADS:
        torch.set_num_threads(threads)
        names = ("masked_conv2d", "input_gradient", "parameter_gradients")
        results.append([t for name in names for t in tensors_of(getattr(native, name)(*call.arguments(name)))])
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))

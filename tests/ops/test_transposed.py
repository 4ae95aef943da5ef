import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hyperconv import hyper_conv_transpose2d


def loop(input, weight, bias, *geometry):
    """F.conv_transpose2d on each sample with its own weights."""
    shared = len(input) // len(weight)
    rows = [
        F.conv_transpose2d(x, weight[n // shared], None if bias is None else bias[n // shared], *geometry)
        for n, x in enumerate(input.split(1))
    ]
    return torch.cat(rows)


@st.composite
def problems(draw):
    groups, sets, shared = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = tuple(draw(st.integers(0, gap * (k - 1) // 2)) for k, gap in zip(kernel, dilation))
    extra = tuple(draw(st.integers(0, max(s, gap) - 1)) for s, gap in zip(stride, dilation))
    input = torch.randn(sets * shared, groups * draw(st.integers(1, 3)), *draw(pair), dtype=torch.float64)
    weight = torch.randn(sets, input.shape[1], draw(st.integers(1, 3)), *kernel, dtype=torch.float64)
    bias = torch.randn(sets, weight.shape[2] * groups, dtype=torch.float64) if draw(st.booleans()) else None
    return input, weight, bias, stride, padding, extra, groups, dilation


@given(problems())
def test_equals_a_loop_and_so_do_the_gradients(problem):
    input, weight, bias, *geometry = problem
    leaves = [tensor.requires_grad_() for tensor in (input, weight, bias) if tensor is not None]
    ours, theirs = hyper_conv_transpose2d(input, weight, bias, *geometry), loop(input, weight, bias, *geometry)
    torch.testing.assert_close(ours, theirs)
    cotangent = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, leaves, cotangent), torch.autograd.grad(theirs, leaves, cotangent)
    )


def test_derivatives_of_both_orders():
    shapes = [(2, 2, 3, 3), (2, 2, 2, 3, 3), (2, 2)]
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def function(input, weight, bias):
        return hyper_conv_transpose2d(input, weight, bias, 2, 1, 1)

    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


def test_shared_weights_views_and_an_empty_batch():
    input, flat = torch.randn(4, 3, 5, 5), torch.randn(2, 200)
    weight = flat[:, 7 : 7 + 96].view(2, 3, 2, 4, 4)
    torch.testing.assert_close(hyper_conv_transpose2d(input, weight, stride=2), loop(input, weight, None, 2))
    shared, bias = torch.randn(3, 2, 4, 4), torch.randn(2)
    expected = F.conv_transpose2d(input, shared, bias, 2, 1)
    torch.testing.assert_close(hyper_conv_transpose2d(input, shared, bias, 2, 1), expected)
    torch.testing.assert_close(
        hyper_conv_transpose2d(input, shared.expand(4, -1, -1, -1, -1), None, 2, 1),
        F.conv_transpose2d(input, shared, None, 2, 1),
    )
    for sets in (0, 2):
        empty = hyper_conv_transpose2d(input[:0], weight[:sets], torch.zeros(sets, 2), 2)
        assert empty.shape == (0, 2, 12, 12)


def test_autocast_and_compile():
    input, weight, bias = torch.randn(4, 3, 5, 5), torch.randn(2, 3, 2, 4, 4), torch.randn(2, 2)
    exact = hyper_conv_transpose2d(input, weight, bias, 2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        low = hyper_conv_transpose2d(input, weight, bias, 2, 1)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, rtol=0.05, atol=0.1)
    compiled = torch.compile(hyper_conv_transpose2d, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(input, weight, bias, 2, 1), exact)


def test_errors():
    input, weight = torch.randn(4, 3, 5, 5), torch.randn(2, 3, 2, 4, 4)
    for match, arguments in [
        ("N = 4 samples, not a multiple of the weight's B = 3", (input, torch.randn(3, 3, 2, 4, 4))),
        (r"\(4, 2, 5, 5\) has 2 channels, weight .* takes 3", (input[:, :2], weight)),
        (r"\(3, 5, 5\) and \(2, 3, 2, 4, 4\)", (input[0], weight)),
        ("groups = 2 does not divide C_in = 3", (input, weight, None, 1, 0, 0, 2)),
        (r"bias must be \(B, C_out\) = \(2, 2\), got \(2, 3\)", (input, weight, torch.zeros(2, 3))),
        (r"output_padding \(2, 2\) must be smaller than stride \(2, 2\)", (input, weight, None, 2, 0, 2)),
        ("no output pixel is left", (input, weight, None, 1, 4)),
    ]:
        with pytest.raises(ValueError, match=match):
            hyper_conv_transpose2d(*arguments)
    with pytest.raises(TypeError, match=r"input is torch.float32 and weight torch.float64"):
        hyper_conv_transpose2d(input, weight.double())


@pytest.mark.parametrize("bias", [False, True])
def test_a_single_sample_without_a_batch_axis(bias):
    input, weight = torch.randn(3, 5, 6), torch.randn(3, 4, 2, 3)
    bias = torch.randn(4) if bias else None
    ours = hyper_conv_transpose2d(input, weight, bias, stride=2)
    torch.testing.assert_close(ours, F.conv_transpose2d(input, weight, bias, stride=2))


KINDS = {
    "input": (([1.0], torch.zeros(3, 4, 2, 3)), {}, "input must be a Tensor, got list"),
    "weight": ((torch.zeros(1, 3, 5, 6), None), {}, "weight must be a Tensor, got NoneType"),
    "bias": ((torch.zeros(1, 3, 5, 6), torch.zeros(3, 4, 2, 3), True), {}, "bias must be a Tensor, got bool"),
    "groups": ((torch.zeros(1, 3, 5, 6), torch.zeros(3, 4, 2, 3)), {"groups": 1.0}, "groups must be an int, got 1.0"),
    "stride": ((torch.zeros(1, 3, 5, 6), torch.zeros(3, 4, 2, 3)), {"stride": None}, "stride must be one int or two"),
    "sparse": ((torch.zeros(1, 3, 5, 6).to_sparse(), torch.zeros(3, 4, 2, 3)), {}, "input is torch.sparse_coo"),
}


@pytest.mark.parametrize("case", KINDS)
def test_names_the_argument_of_another_kind(case):
    arguments, options, message = KINDS[case]
    with pytest.raises(TypeError, match=message) as raised:
        hyper_conv_transpose2d(*arguments, **options)
    assert "\n" not in str(raised.value)


def test_no_pixels():
    with pytest.raises(ValueError, match=r"\(2, 3, 0, 8\)"):
        hyper_conv_transpose2d(torch.zeros(2, 3, 0, 8), torch.zeros(3, 4, 3, 3))

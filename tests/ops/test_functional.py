"""hyper_conv2d as a drop-in for F.conv2d: shared weights, named padding, layouts, tensors read in place."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_loop import convolve_each

from hyperconv import hyper_conv2d, use_backend
from hyperconv.ops import reference


@settings(max_examples=80)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.just("valid")),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    batched=st.booleans(),
    bias=st.booleans(),
)
def test_shared_weight_is_conv2d(kernel, stride, padding, dilation, groups, batched, bias):
    input = torch.randn(*((3,) if batched else ()), 2 * groups, 9, 10, dtype=torch.float64)
    weight = torch.randn(3 * groups, 2, *kernel, dtype=torch.float64)
    bias = torch.randn(3 * groups, dtype=torch.float64) if bias else None
    arguments = (input, weight, bias, stride, padding, dilation, groups)
    torch.testing.assert_close(hyper_conv2d(*arguments), F.conv2d(*arguments))


@settings(max_examples=60)
@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(1, 3), st.booleans())
def test_same_padding(kernel, dilation, per_sample):
    input = torch.randn(2, 3, 11, 12, dtype=torch.float64)
    weight = torch.randn(2, 4, 3, *kernel, dtype=torch.float64)
    if per_sample:
        expected = convolve_each(input, weight, None, 1, "same", dilation)
        torch.testing.assert_close(hyper_conv2d(input, weight, padding="same", dilation=dilation), expected)
    else:
        expected = F.conv2d(input, weight[0], padding="same", dilation=dilation)
        torch.testing.assert_close(hyper_conv2d(input, weight[0], padding="same", dilation=dilation), expected)


def test_lists_and_single_element_lists():
    input, weight = torch.randn(2, 3, 9, 9), torch.randn(2, 4, 3, 3, 3)
    expected = hyper_conv2d(input, weight, None, (2, 2), (1, 1), (1, 1))
    torch.testing.assert_close(hyper_conv2d(input, weight, stride=[2], padding=[1, 1], dilation=[1]), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtype_and_memory_format_are_kept(backend, dtype):
    input = torch.randn(4, 3, 8, 9).to(dtype)
    weight, bias = torch.randn(2, 5, 3, 3, 3).to(dtype), torch.randn(2, 5).to(dtype)
    plain = hyper_conv2d(input, weight, bias, padding=1, activation="tanh")
    assert plain.dtype == dtype and plain.is_contiguous()
    channels_last = input.contiguous(memory_format=torch.channels_last)
    output = hyper_conv2d(channels_last, weight, bias, padding=1, activation="tanh")
    assert output.dtype == dtype and output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output.contiguous(), plain)


def test_backward_keeps_channels_last(backend):
    input = torch.randn(4, 3, 8, 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(2, 5, 3, 3, 3, requires_grad=True)
    output = hyper_conv2d(input, weight, activation="relu")
    grad = torch.randn_like(output)
    input_grad, weight_grad = torch.autograd.grad(output, (input, weight), grad)
    assert grad.is_contiguous(memory_format=torch.channels_last)
    assert input_grad.is_contiguous(memory_format=torch.channels_last)
    assert weight_grad.is_contiguous()


def test_backward_returns_to_channels_last(backend):
    """A gradient in another memory format than the layer's does not make all layers before it go on in that one."""
    input = torch.randn(4, 3, 8, 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, bias = torch.randn(2, 5, 3, 3, 3, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    output = hyper_conv2d(input, weight, bias, activation="relu")
    grad = torch.randn(output.shape)
    for create_graph in (False, True):
        got = torch.autograd.grad(output, (input, weight, bias), grad, create_graph=create_graph, retain_graph=True)
        wanted = torch.autograd.grad(
            output, (input, weight, bias), grad.to(memory_format=torch.channels_last), retain_graph=True
        )
        assert got[0].is_contiguous(memory_format=torch.channels_last)
        for one, other in zip(got, wanted):
            torch.testing.assert_close(one, other)


def test_backward_through_one_channel_keeps_channels_last(backend):
    """Of one channel every memory format is the same, so a critic's score map and its gradient have none."""
    input = torch.randn(4, 6, 8, 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(2, 1, 6, 3, 3, requires_grad=True)
    scores = hyper_conv2d(input, weight)
    (grad,) = torch.autograd.grad(scores, input, torch.ones(4, 1, 6, 7), create_graph=True)
    assert grad.is_contiguous(memory_format=torch.channels_last)
    (by_weight,) = torch.autograd.grad(grad.square().sum(), weight)

    contiguous = input.detach().contiguous().requires_grad_()
    (plain,) = torch.autograd.grad(hyper_conv2d(contiguous, weight).sum(), contiguous, create_graph=True)
    assert plain.is_contiguous()
    torch.testing.assert_close(grad, plain)
    torch.testing.assert_close(by_weight, torch.autograd.grad(plain.square().sum(), weight)[0])


@pytest.mark.parametrize("expanded", [False, True], ids=["flat_buffer", "stride_0"])
def test_weight_views_reach_the_backend_as_they_are(expanded, monkeypatch):
    """No copy on the way: the backend gets the same storage and strides."""
    flat = torch.randn(4, 5000)
    weight = flat[:, 17 : 17 + 64 * 32 * 9 // 16].unflatten(1, (32, 4, 3, 3))
    weight = weight[:1].expand(4, -1, -1, -1, -1) if expanded else weight
    received, compute = [], reference.conv2d
    monkeypatch.setattr(reference, "conv2d", lambda x, w, *rest: received.append(w) or compute(x, w, *rest))
    with use_backend("reference"):
        hyper_conv2d(torch.randn(4, 4, 8, 8), weight.requires_grad_(), activation="relu")
    assert received[0].data_ptr() == weight.data_ptr() and received[0].stride() == weight.stride()


@pytest.mark.parametrize("view", ["flat_buffer", "stride_0"])
def test_native_reads_weight_views_in_place(native_backend, view):
    """Allocations of a call stay far under the size of the weights."""
    flat = torch.randn(8, 256 * 128 * 9 + 5)
    weight = flat[:, 5:].unflatten(1, (256, 128, 3, 3))
    weight = weight[:1].expand(8, -1, -1, -1, -1) if view == "stride_0" else weight
    input = torch.randn(8, 128, 3, 3)
    with torch.profiler.profile(profile_memory=True) as profile:
        hyper_conv2d(input, weight)
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in profile.key_averages())
    assert 0 < allocated < weight[0].numel() * 4


def test_same_call_same_bits(quick_backend):
    """Twice the same, forward and backward, also with more threads than work."""
    input = torch.randn(4, 16, 33, 31, requires_grad=True)
    weight, bias = torch.randn(2, 24, 16, 3, 3, requires_grad=True), torch.randn(2, 24, requires_grad=True)

    def run():
        output = hyper_conv2d(input, weight, bias, padding=1, activation="leaky_relu")
        (gradient,) = torch.autograd.grad(output.pow(2).sum(), input, create_graph=True)
        return output, gradient, *torch.autograd.grad(gradient.pow(2).sum(), (input, weight, bias))

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, second = run(), run()
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)

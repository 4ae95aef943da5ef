"""The operator among the other machinery of CUDA: streams, graphs, autocast, torch.compile, vmap."""

import pytest
import torch
from each_sample import Settings, each_sample, random_layer, relative_error

from hyperconv import hyper_conv2d

OPTIONS = Settings(padding=(1, 1), activation="leaky_relu", negative_slope=0.2)


def ours(input, weight, bias):
    return hyper_conv2d(input, weight, bias, **OPTIONS.arguments())


def test_runs_on_the_current_stream(device, backend):
    """Behind slow work on a side stream: on any other stream it would read the tensors too early."""
    input, weight, bias = random_layer(device, 4, 2, (8, 8), (64, 64))
    exact = each_sample(2 * input, weight, bias, OPTIONS)
    slow = torch.randn(4096, 4096, device=device)
    stale = torch.zeros_like(input)
    ours(stale, weight, bias)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(20):
            slow @ slow
        stale.copy_(2 * input)
        output = ours(stale, weight, bias)
    stream.synchronize()
    torch.testing.assert_close(output, exact)


def test_forward_in_a_cuda_graph(device, backend):
    input, weight, bias = random_layer(device, 4, 2, (3, 16), (40, 40))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        ours(input, weight, bias)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = ours(input, weight, bias)
    for seed in (1, 2):
        fresh = random_layer(device, 4, 2, (3, 16), (40, 40), seed=seed)
        for static, value in zip((input, weight, bias), fresh):
            static.copy_(value)
        output.fill_(float("nan"))
        graph.replay()
        torch.testing.assert_close(output, each_sample(*fresh, OPTIONS))


def test_penalty_in_a_cuda_graph(device, backend):
    input, weight, bias = (t.requires_grad_() for t in random_layer(device, 2, 1, (3, 8), (20, 20)))

    def gradient():
        (slope,) = torch.autograd.grad(ours(input, weight, bias).sum(), input, create_graph=True)
        return torch.autograd.grad((slope.norm(2, dim=1) - 1).square().mean(), weight)[0]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        eager = gradient().clone()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = gradient()
    replayed.zero_()
    graph.replay()
    torch.testing.assert_close(replayed, eager)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(device, backend, dtype):
    """The region computes in the low precision, derivatives included; gradients are float32."""
    variables = [t.requires_grad_() for t in random_layer(device, 2, 2, (8, 8), dtype=torch.float32)]
    input, weight, _ = variables
    with torch.autocast(device, dtype):
        output = ours(*variables)
        (slope,) = torch.autograd.grad(output.float().sum(), input, create_graph=True)
        penalty = slope.float().square().mean()
    assert output.dtype == dtype and slope.dtype == torch.float32
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert gradient.dtype == torch.float32

    exact = [t.detach().double().requires_grad_() for t in variables]
    (exact_slope,) = torch.autograd.grad(each_sample(*exact, OPTIONS).sum(), exact[0], create_graph=True)
    (expected,) = torch.autograd.grad(exact_slope.square().mean(), exact[1])
    assert relative_error(output, each_sample(*exact, OPTIONS)) < 2e-2
    assert relative_error(gradient, expected) < 1e-1


def test_compiled(device, backend):
    variables = [t.requires_grad_() for t in random_layer(device, 2, 2, (3, 8), dtype=torch.float32)]
    options = OPTIONS.arguments()
    compiled = torch.compile(lambda *tensors: hyper_conv2d(*tensors, **options).sin(), fullgraph=True)
    torch.testing.assert_close(compiled(*variables), ours(*variables).sin(), rtol=1e-4, atol=1e-4)
    own = torch.autograd.grad(compiled(*variables).sum(), variables)
    eager = torch.autograd.grad(ours(*variables).sin().sum(), variables)
    torch.testing.assert_close(own, eager, rtol=1e-3, atol=1e-3)


def test_vmap(device, backend):
    input, weight, bias = random_layer(device, 2, 2)
    stacked = torch.stack((input, 2 * input, -input))
    outputs = torch.func.vmap(lambda x: ours(x, weight, bias))(stacked)
    for output, one in zip(outputs, stacked, strict=True):
        torch.testing.assert_close(output, each_sample(one, weight, bias, OPTIONS))


def test_second_gpu(backend):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    input, weight, bias = random_layer("cuda:1", 2, 2)
    assert torch.cuda.current_device() == 0
    output = ours(input, weight, bias)
    assert output.device == input.device
    torch.testing.assert_close(output, each_sample(input, weight, bias, OPTIONS))

"""torch.compile: no graph break, the operators whole in the graph, the same numbers and strides as eager."""

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from hyperconv import hyper_conv2d, use_backend
from hyperconv.ops import reference


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def critic(images, weights):
    for layer, (weight, bias) in enumerate(weights):
        last = layer == len(weights) - 1
        images = hyper_conv2d(
            images,
            weight,
            bias,
            padding="same",
            activation=None if last else "leaky_relu",
            negative_slope=0.2,
        )
    return images


def penalty_gradients(images, weights):
    scores = critic(images, weights)
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    value = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return torch.autograd.grad(value, [weight for weight, _ in weights])


def layer_weights():
    shapes = [(4, 3, 3, 3), (1, 4, 3, 3)]
    return [(torch.randn(2, *shape).requires_grad_(), torch.randn(2, shape[0]).requires_grad_()) for shape in shapes]


def assert_same_as_eager(compiled, images, weights):
    variables = [tensor for layer in weights for tensor in layer]
    outputs = [function(images, weights) for function in (compiled, critic)]
    torch.testing.assert_close(*outputs)
    assert outputs[0].stride() == outputs[1].stride()
    torch.testing.assert_close(*(torch.autograd.grad(output.pow(2).sum(), variables) for output in outputs))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_forward_and_backward(dynamic, memory_format):
    compiled = torch.compile(critic, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    weights = layer_weights()
    for shape in ((4, 3, 9, 8), (6, 3, 12, 7)):
        images = torch.randn(shape).contiguous(memory_format=memory_format)
        assert_same_as_eager(compiled, images, weights)


def test_dynamic_sizes_do_not_recompile():
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(critic, fullgraph=True, backend=count, dynamic=True)
    weights = layer_weights()
    for shape in ((10, 3, 9, 8), (6, 3, 12, 7), (8, 3, 20, 21)):
        compiled(torch.randn(shape), weights)
    assert len(graphs) == 1


def test_operators_stay_whole_in_the_graph():
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    images = torch.randn(4, 3, 9, 8, requires_grad=True)
    torch.compile(critic, fullgraph=True, backend=backend)(images, layer_weights()).sum().backward()
    called = {str(node.target) for graph in graphs for node in graph.graph.nodes if node.op == "call_function"}
    names = ("conv2d", "input_gradient", "parameter_gradients")
    assert {f"hyperconv.{name}.default" for name in names} <= called
    assert not any("convolution" in name for name in called)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_inductor(memory_format):
    """Inductor asserts the strides it was promised."""
    images = torch.randn(4, 3, 9, 8).contiguous(memory_format=memory_format)
    assert_same_as_eager(torch.compile(critic, fullgraph=True), images, layer_weights())


def test_whole_penalty(monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "trace_autograd_ops", True)
    images, weights = torch.randn(4, 3, 9, 8, requires_grad=True), layer_weights()
    compiled = torch.compile(penalty_gradients, fullgraph=True, backend="aot_eager")
    for ours, expected in zip(compiled(images, weights), penalty_gradients(images, weights), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_bad_input_raises_inside_a_compiled_function():
    compiled = torch.compile(hyper_conv2d, backend="eager")
    with pytest.raises(Exception, match="N = 5 samples"):
        compiled(torch.randn(5, 3, 9, 9), torch.randn(2, 4, 3, 3, 3))


def test_use_backend_is_never_silently_without_effect(monkeypatch):
    calls, compute = [], reference.conv2d
    monkeypatch.setattr(reference, "conv2d", lambda *args: calls.append(args) or compute(*args))
    input, weight = torch.randn(2, 3, 9, 9), torch.randn(2, 4, 3, 3, 3)

    def inside(input, weight):
        with use_backend("reference"):
            return hyper_conv2d(input, weight)

    torch.compile(inside, backend="aot_eager")(input, weight)
    assert len(calls) == 1
    torch._dynamo.reset()
    with pytest.raises(Exception, match="use_backend inside a compiled function has no effect"):
        torch.compile(inside, backend="aot_eager", fullgraph=True)(input, weight)
    around = torch.compile(hyper_conv2d, backend="aot_eager", fullgraph=True)
    around(input, weight)
    assert len(calls) == 1
    with use_backend("reference"):
        around(input, weight)
    assert len(calls) == 2


def test_settings_may_be_dynamic():
    def strided(images, weight, stride, padding, slope):
        return hyper_conv2d(images, weight, None, stride, (padding, 1), activation="leaky_relu", negative_slope=slope)

    compiled = torch.compile(strided, fullgraph=True, backend="aot_eager", dynamic=True)
    images, weight = torch.randn(2, 3, 9, 9), torch.randn(2, 4, 3, 3, 3)
    for settings in ((2, 3, 0.2), (3, 2, 0.3)):
        torch.testing.assert_close(compiled(images, weight, *settings), strided(images, weight, *settings))

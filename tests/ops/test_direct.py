"""The shorter way to the kernels: who would see a call of the operator still sees it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hyperconv import hyper_conv2d, no_weight_gradients, use_backend
from hyperconv.ops import backends, shortcut


class Seen(TorchDispatchMode):
    """Names of the operators that pass through the dispatcher."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


class Subclass(torch.Tensor):
    pass


def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 6, 7), (2, 4, 3, 3, 3), (2, 4)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def layer(input, weight, bias):
    return hyper_conv2d(input, weight, bias, padding=1, activation="leaky_relu")


def test_a_mode_sees_the_operators_of_both_directions():
    with Seen() as seen:
        torch.autograd.grad(layer(*tensors()).sum(), tensors()[:1], allow_unused=True)
        inputs = tensors()
        torch.autograd.grad(layer(*inputs).sum(), inputs)
    for name in ("conv2d", "input_gradient", "parameter_gradients"):
        assert f"hyperconv::{name}" in seen.names


def test_both_ways_give_the_same_bits(monkeypatch):
    def results():
        inputs = tensors()
        output = layer(*inputs)
        gradients = torch.autograd.grad(output.square().sum(), inputs, create_graph=True)
        return [output, *gradients, *torch.autograd.grad(gradients[0].square().sum(), inputs[:2])]

    short = results()
    monkeypatch.setattr(shortcut, "plain", lambda args: False)
    assert all(torch.equal(a, b) for a, b in zip(short, results(), strict=True))


@pytest.mark.parametrize("wrap", [lambda t: t.as_subclass(Subclass), lambda t: t.to("meta")], ids=["subclass", "meta"])
def test_other_tensors_than_plain_ones_go_through_the_dispatcher(wrap):
    output = layer(*(wrap(tensor.detach()) for tensor in tensors()))
    assert output.shape == (2, 4, 6, 7)


def test_autocast_and_forward_mode_are_not_passed_by():
    inputs = [tensor.detach() for tensor in tensors()]
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(*inputs).dtype == torch.bfloat16
    _, tangent = torch.func.jvp(layer, tuple(inputs), tuple(map(torch.ones_like, inputs)))
    assert tangent.abs().sum() > 0


@pytest.fixture
def at_once(monkeypatch, native_backend):
    """How many backward passes took one call of the native library for all three gradients."""
    calls, compute = [], backends._on_cpu_at_once
    with monkeypatch.context() as patch:
        patch.setattr(backends, "_open", [])  # nobody asks for a backend ...
        patch.setattr(backends, "_native_by_default", lambda: True)  # ... nor does the environment
        patch.setattr(backends, "_on_cpu_at_once", lambda *args: calls.append(args) or compute(*args))
        yield calls


def gradients(wanted, inputs=None, **options):
    inputs = inputs or tensors()
    return torch.autograd.grad(layer(*inputs).square().sum(), [inputs[index] for index in wanted], **options)


def test_all_three_gradients_by_one_call_have_the_bits_of_two(at_once):
    together = gradients([0, 1, 2])
    assert len(at_once) == 1
    apart = gradients([0, 1, 2], create_graph=True)  # recorded, so by the operators that have derivatives
    assert len(at_once) == 1
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))


@pytest.mark.parametrize("wanted", [[0], [1], [2], [0, 2], [1, 2]])
def test_fewer_gradients_are_not_computed_with_the_others(at_once, wanted):
    torch.testing.assert_close(gradients(wanted), tuple(gradients([0, 1, 2], create_graph=True)[i] for i in wanted))
    assert not at_once


def test_another_backend_or_paused_weights_are_not_passed_by(at_once):
    output, inputs = None, tensors()
    for context in (use_backend("reference"), no_weight_gradients()):
        output = layer(*inputs).square().sum()
        with context:
            output.backward()
    assert not at_once
    assert inputs[0].grad is not None


def test_a_layer_that_native_does_not_suit_is_not_computed_at_once(at_once):
    inputs = [torch.randn(shape).requires_grad_() for shape in ((1, 64, 16, 16), (1, 64, 64, 5, 5), (1, 64))]
    gradients([0, 1, 2], inputs)
    assert not at_once


def test_leaves_of_a_transform_that_has_ended_are_differentiated():
    kept = []
    torch.func.grad(lambda image: kept.append(image) or image.sum())(torch.randn(2, 3, 6, 7))
    _, weight, bias = tensors()
    by_weight, _ = torch.autograd.grad(layer(kept[0], weight, bias).sum(), (weight, bias))
    assert by_weight.abs().sum() > 0

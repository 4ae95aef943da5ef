"""The shorter way to the kernels: who would see a call of the operator still sees it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hyperconv import hyper_conv2d
from hyperconv.ops import autograd


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
    monkeypatch.setattr(autograd, "_plain", lambda args: False)
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

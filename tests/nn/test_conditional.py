import copy

import pytest
import torch
from torch import nn

from hyperconv import ConditionalBatchNorm2d, ConditionalInstanceNorm2d, InputError, cond_conv2d, hyper_conv2d

NORMS = {"batch": (ConditionalBatchNorm2d, nn.BatchNorm2d), "instance": (ConditionalInstanceNorm2d, nn.InstanceNorm2d)}


@pytest.mark.parametrize("biased", [True, False])
def test_a_mixture_of_experts(biased):
    input, experts, routing = torch.randn(4, 6, 7, 7), torch.randn(3, 4, 3, 3, 3), torch.rand(2, 3)
    bias = torch.randn(3, 4) if biased else None
    out = cond_conv2d(input, experts, routing, bias, 2, 1, groups=2, activation="relu")
    each = [hyper_conv2d(input, experts[k], bias[k] if biased else None, 2, 1, groups=2) for k in range(3)]
    rows = routing.repeat_interleave(2, 0)
    mixed = sum(rows[:, k, None, None, None] * each[k] for k in range(3))
    torch.testing.assert_close(out, mixed.relu())


def test_derivatives_of_the_mixture():
    shapes = [(2, 2, 3, 3), (2, 2, 2, 2, 2), (2, 2), (2, 2)]
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(cond_conv2d, arguments)
    assert torch.autograd.gradgradcheck(cond_conv2d, arguments)


def test_errors_of_the_mixture():
    input, experts = torch.randn(4, 6, 7, 7), torch.randn(3, 4, 6, 3, 3)
    with pytest.raises(InputError, match=r"routing \(B, K\), got \(3, 4, 6, 3, 3\) and \(2, 4\)"):
        cond_conv2d(input, experts, torch.rand(2, 4))
    with pytest.raises(InputError, match=r"expert_bias must be \(K, C_out\) = \(3, 4\), got \(4,\)"):
        cond_conv2d(input, experts, torch.rand(2, 3), torch.rand(4))
    with pytest.raises(ValueError, match="N = 4 .* B = 3"):
        cond_conv2d(input, experts, torch.rand(3, 3))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", NORMS)
def test_normalisation_with_an_affine_for_each_sample(kind, training):
    ours, theirs = NORMS[kind]
    norm, plain = ours(4, 5, eps=1e-3, momentum=0.2), theirs(4, eps=1e-3, momentum=0.2)
    x, context = torch.randn(6, 4, 5, 5) * 3 + 1, torch.randn(3, 5)
    torch.testing.assert_close(norm(x, context), plain(x))  # and both have measured the batch
    torch.testing.assert_close(norm.train(training)(x, context), plain.train(training)(x))
    nn.init.normal_(norm.hypernetwork.projection.weight)
    gain, bias = norm.hypernetwork.projection(context).split(4, dim=1)
    out, normalised = norm(x, context), plain(x)
    for n in range(6):
        expected = normalised[n] * (1 + gain[n // 2, :, None, None]) + bias[n // 2, :, None, None]
        torch.testing.assert_close(out[n], expected)
    assert out.requires_grad and torch.equal(copy.deepcopy(norm).eval()(x, context), norm.eval()(x, context))


@pytest.mark.parametrize("kind", NORMS)
def test_derivatives_state_and_errors_of_normalisations(kind):
    norm = NORMS[kind][0](2, 3, dtype=torch.float64)
    nn.init.normal_(norm.hypernetwork.projection.weight)
    arguments = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True), torch.randn(1, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(norm, arguments) and torch.autograd.gradgradcheck(norm, arguments)
    other = NORMS[kind][0](2, 3, dtype=torch.float64)
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other.eval()(*arguments), norm.eval()(*arguments))
    with pytest.raises(ValueError, match=r"\(1, 2\), expected \(B, 3\)"):
        norm(arguments[0], arguments[1][:, :2])
    with pytest.raises(InputError, match="N = 2 samples, not a multiple of B = 3"):
        norm(arguments[0], torch.randn(3, 3).double())

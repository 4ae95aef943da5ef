"""The published step, composed from plain PyTorch: its sizes, its arithmetic, what it trains."""

import pytest
import torch
from torch.nn import functional as F

from benchmarks.plain_step import HeadSet, PlainStep, resnet, stack

SIZES = ((13, 12), (15, 16))


@pytest.fixture
def plain():
    torch.manual_seed(0)
    return PlainStep(1, batch=2, device="cpu", sizes=SIZES, hidden=4, blocks=(1, 1))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts():
    with torch.device("meta"):
        assert parameters(HeadSet("generator", 64)) == 114_307 * 513
        assert parameters(HeadSet("critic", 64)) == 113_153 * 513
        assert parameters(resnet()) == 21_284_672  # ResNet-34 without its classifier


def test_every_sample_has_its_own_weights(plain):
    (weights,) = plain.critic(plain.squashed)
    output = stack(plain.photos, weights)
    assert output.shape == (2, 1, 15 - 10, 16 - 10)
    for n in range(2):
        x = plain.photos[n : n + 1]
        for i, (weight, bias) in enumerate(weights):
            x = F.conv2d(x, weight[n], bias[n])
            x = F.leaky_relu(x, 0.02) if i < 4 else x
        torch.testing.assert_close(output[n : n + 1], x, atol=1e-5, rtol=1e-5)


def test_pyramid_of_images(plain):
    assert plain.sample().shape == plain.reconstruct().shape == (2, 3, 15, 16)
    assert not torch.equal(plain.sample(), plain.sample())


def test_reconstruction_draws_nothing():
    torch.manual_seed(0)
    plain = PlainStep(1, batch=2, device="cpu", sizes=SIZES, hidden=4, blocks=(1, 1))
    torch.testing.assert_close(plain.reconstruct(), plain.reconstruct())


def test_a_step_trains_both_networks_but_no_finished_head(plain):
    def snapshot():  # a bias of the critic may move nothing: real and fake pull it to opposite sides
        networks = {"generator": plain.generator, "critic": plain.critic}
        named = {f"{role}.{k}": p for role, net in networks.items() for k, p in net.named_parameters()}
        return {name: p.detach().clone() for name, p in named.items() if ".biases." not in name}

    before = snapshot()
    calls = []
    for net in (plain.generator, plain.critic):
        net.register_forward_hook(lambda module, *_: calls.append(module))
    losses = plain.step()
    assert calls.count(plain.generator) == 2 and calls.count(plain.critic) == 4
    assert all(torch.isfinite(value) for value in losses.values())
    unchanged = {name for name, value in snapshot().items() if torch.equal(value, before[name])}
    assert unchanged == {name for name in before if name.startswith("generator.heads.0.")}
    assert not any(p.requires_grad for p in plain.generator.heads[0].parameters())


def test_profiled_step_has_the_plain_steps_gradients():
    from benchmarks.launches import RangedStep

    gradients = []
    for cls in (PlainStep, RangedStep):
        torch.manual_seed(0)
        step = cls(1, batch=2, device="cpu", sizes=SIZES, hidden=4, blocks=(1, 1))
        step.step()
        gradients.append([p.grad for net in (step.generator, step.critic) for p in net.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        else:
            assert theirs is None

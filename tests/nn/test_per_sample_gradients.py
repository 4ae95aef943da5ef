from functools import partial

import pytest
import torch
import torch.nn.functional as F
from networks import ResNet, Tied, UNet, dcgan_critic
from torch import nn

from hyperconv import InputError, per_sample_gradients

cross_entropy = partial(F.cross_entropy, reduction="none")


def squared_error(outputs, targets):
    return (outputs - targets).square().flatten(1).sum(1)


def problems():
    group_norm = partial(nn.GroupNorm, 2)
    pixels = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm(8), nn.InstanceNorm2d(4, affine=True))
    return {
        "resnet": (ResNet(norm=group_norm), cross_entropy, (3, 32, 32), torch.randint(5, (3,))),
        "unet": (UNet(), squared_error, (3, 8, 8), torch.randn(3, 1, 8, 8)),
        "critic": (dcgan_critic(), squared_error, (3, 16, 16), torch.randn(3, 1)),
        "pixels": (pixels, squared_error, (3, 8, 8), torch.randn(3, 4, 8, 8)),
        "perceptron": (
            nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)),
            cross_entropy,
            (4,),
            torch.randint(5, (3,)),
        ),
        "sequence": (nn.Linear(4, 2), squared_error, (7, 4), torch.randn(3, 7, 2)),
    }


def with_vmap(module, loss_fn, inputs, targets):
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}

    def loss(parameters, x, y):
        return loss_fn(torch.func.functional_call(module, parameters, (x[None],)), y[None]).sum()

    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, targets)


@pytest.mark.parametrize("name", problems())
def test_equals_vmap_of_grad(name):
    module, loss_fn, size, targets = problems()[name]
    module, inputs = module.double().eval(), torch.randn(3, *size, dtype=torch.float64)
    targets = targets.double() if targets.is_floating_point() else targets
    ours = per_sample_gradients(module, loss_fn, inputs, targets)
    expected = with_vmap(module, loss_fn, inputs, targets)
    assert list(ours) == [name for name, _ in module.named_parameters()]
    torch.testing.assert_close(ours, expected)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_sum_is_the_gradient_of_the_sum_with_tied_parameters_too():
    module, inputs, targets = Tied(), torch.randn(3, 3, 6, 6), torch.randint(4, (3,))
    ours = per_sample_gradients(module, cross_entropy, inputs, targets)
    cross_entropy(module(inputs), targets).sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(ours[name].sum(0), parameter.grad)


def test_frozen_parameters_are_left_out_and_unused_ones_are_zero():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    module[0].weight.requires_grad_(False)
    module.spare = nn.Linear(2, 2)
    module.forward = lambda x: module[2](module[1](module[0](x)))
    with torch.no_grad():
        ours = per_sample_gradients(module, cross_entropy, torch.randn(3, 3, 4, 4), torch.tensor([0, 1, 0]))
    assert set(ours) == {"0.bias", "2.weight", "2.bias", "spare.weight", "spare.bias"}
    assert ours["0.bias"].abs().sum() > 0 and not ours["spare.weight"].any()


def test_gradients_can_be_differentiated():
    """The norm of each sample's gradient, pulled down: the derivative by the parameters, against a loop."""
    module, inputs, targets = (
        dcgan_critic(width=2).double(),
        torch.randn(3, 3, 16, 16).double(),
        torch.randn(3, 1).double(),
    )
    ours = per_sample_gradients(module, squared_error, inputs, targets, create_graph=True)
    norms = torch.stack([g.flatten(1).square().sum(1) for g in ours.values()]).sum(0)
    expected = []
    for x, y in zip(inputs.split(1), targets.split(1)):
        grads = torch.autograd.grad(squared_error(module(x), y), list(module.parameters()), create_graph=True)
        expected.append(sum(g.square().sum() for g in grads))
    expected = torch.stack(expected)
    torch.testing.assert_close(norms, expected)
    torch.testing.assert_close(
        torch.autograd.grad(norms.tanh().sum(), list(module.parameters())),
        torch.autograd.grad(expected.tanh().sum(), list(module.parameters())),
    )


def test_batch_normalisation_counts_when_its_statistics_are_fixed():
    module, inputs, targets = ResNet(), torch.randn(4, 3, 32, 32), torch.randint(5, (4,))
    module(inputs)
    with pytest.raises(InputError, match=r"bn1 normalises with the statistics of the batch.*module.eval\(\)"):
        per_sample_gradients(module, cross_entropy, inputs, targets)
    ours = per_sample_gradients(module.eval(), cross_entropy, inputs, targets)
    torch.testing.assert_close(ours, with_vmap(module, cross_entropy, inputs, targets), rtol=1e-4, atol=1e-5)


def test_errors():
    inputs, targets = torch.randn(4, 3, 16, 16), torch.randn(4, 1)
    with pytest.raises(InputError, match=r"shape \(\), expected one loss per sample: \(4,\)"):
        per_sample_gradients(dcgan_critic(), F.mse_loss, inputs, targets)
    with pytest.raises(InputError, match="0 is a PReLU with trainable parameters"):
        per_sample_gradients(nn.Sequential(nn.PReLU(), nn.Flatten()), squared_error, inputs, targets)
    with pytest.raises(InputError, match="no trainable parameter"):
        per_sample_gradients(dcgan_critic().requires_grad_(False), squared_error, inputs, targets)

import pytest
import torch
from networks import Tied, UNet, dcgan_critic, dcgan_generator
from torch import nn

from hyperconv import FreeWeights, InputError, WeightLayout, expand_parameters, per_sample_call


class Norms(nn.Module):
    """Every kind of normalisation, with affine weights, on images and on vectors."""

    def __init__(self):
        super().__init__()
        self.norms = nn.Sequential(
            nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm((4, 6, 6))
        )
        self.vector = nn.Sequential(nn.Flatten(2), nn.LayerNorm(36), nn.LayerNorm(36, bias=False), nn.Linear(36, 3))

    def forward(self, x):
        return self.vector(self.norms(x))


def networks():
    return {
        "unet": (UNet(), torch.randn(4, 3, 8, 8)),
        "generator": (dcgan_generator(), torch.randn(4, 6, 1, 1)),
        "critic": (dcgan_critic(), torch.randn(4, 3, 16, 16)),
        "tied": (Tied(), torch.randn(4, 3, 6, 6)),
        "norms": (Norms(), torch.randn(4, 4, 6, 6)),
    }


def random_sets(module, sets):
    return {
        name: torch.randn(sets, *parameter.shape, dtype=parameter.dtype, requires_grad=True)
        for name, parameter in module.named_parameters()
    }


def one_by_one(module, weights, x):
    """`torch.func.functional_call` on the samples of each set; for a tied module through its own parameters."""
    sets = len(next(iter(weights.values())))
    own = {parameter: name for name, parameter in module.named_parameters()}
    rows = []
    for index, part in enumerate(x.chunk(sets)):
        places = {
            f"{prefix}.{key}" if prefix else key: weights[own[parameter]][index]
            for prefix, child in module.named_modules()
            for key, parameter in child._parameters.items()
            if parameter is not None
        }
        rows.append(torch.func.functional_call(module, places, (part,), tie_weights=False))
    return torch.cat(rows)


@pytest.mark.parametrize("sets", [1, 2, 4])
@pytest.mark.parametrize("name", networks())
def test_equals_functional_call_set_by_set_and_so_do_the_gradients(name, sets):
    module, x = networks()[name]
    module, x = module.double().eval(), x.double().requires_grad_()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    weights = random_sets(module, sets)
    ours, theirs = per_sample_call(module, weights, x), one_by_one(module, weights, x)
    torch.testing.assert_close(ours, theirs)
    leaves, cotangent = [x, *weights.values()], torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, leaves, cotangent), torch.autograd.grad(theirs, leaves, cotangent)
    )
    assert all(isinstance(parameter, nn.Parameter) for parameter in module.parameters())
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)


def test_equals_vmap():
    module, x = dcgan_critic(), torch.randn(4, 3, 16, 16)
    weights = random_sets(module, 4)
    mapped = torch.func.vmap(lambda w, image: torch.func.functional_call(module, w, (image[None],)))(weights, x)
    torch.testing.assert_close(per_sample_call(module, weights, x), mapped.flatten(0, 1))


def test_parameters_left_out_are_the_modules_own():
    module, x = UNet(), torch.randn(4, 3, 8, 8)
    weights = {
        "head.bias": torch.randn(2, 1),
        "down1.1.weight": torch.randn(2, 4),
        "bottom.0.weight": torch.randn(2, 16, 8, 3, 3),
    }
    full = {**{name: p.expand(2, *p.shape) for name, p in module.named_parameters()}, **weights}
    torch.testing.assert_close(per_sample_call(module, weights, x), one_by_one(module, full, x))
    torch.testing.assert_close(per_sample_call(module, {}, x), module(x))


def test_expanded_parameters_give_the_gradient_of_each_network():
    module, x = UNet(), torch.randn(2, 3, 8, 8)
    module.head.bias.requires_grad_(False)
    weights = expand_parameters(module, 2)
    assert "head.bias" not in weights and all(weight.stride(0) == 0 for weight in weights.values())
    out = per_sample_call(module, weights, x)
    torch.testing.assert_close(out, module(x))
    grads = torch.autograd.grad(out.square().sum(), list(weights.values()))
    for grad, name in zip(grads, weights, strict=True):
        for n in range(2):
            expected = torch.autograd.grad(module(x[n : n + 1]).square().sum(), module.get_parameter(name))[0]
            torch.testing.assert_close(grad[n], expected, rtol=1e-4, atol=1e-4)


def test_a_weight_set_and_keyword_arguments():
    module, x = dcgan_critic(), torch.randn(4, 3, 16, 16)
    layout = WeightLayout({name: parameter.shape for name, parameter in module.named_parameters()})
    weights = FreeWeights(layout, 2).weights()
    expected = one_by_one(module, weights, x)
    torch.testing.assert_close(per_sample_call(module, weights, input=x), expected)


def test_second_order_and_autocast():
    module = nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1), nn.Tanh(), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(18, 1)
    ).double()
    names, weights = zip(*random_sets(module, 2).items())
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, *w: per_sample_call(module, dict(zip(names, w)), x), (x, *weights))
    with torch.autocast("cpu", torch.bfloat16):
        low = per_sample_call(module.float(), {name: w.float() for name, w in zip(names, weights)}, x.float())
    torch.testing.assert_close(
        low.double(), per_sample_call(module.double(), dict(zip(names, weights)), x), rtol=0.1, atol=0.1
    )


def test_an_empty_batch():
    module = dcgan_critic()
    weights = {name: torch.zeros(0, *parameter.shape) for name, parameter in module.named_parameters()}
    assert per_sample_call(module, weights, torch.zeros(0, 3, 16, 16)).shape == (0, 1)


def test_errors():
    module, x = dcgan_critic(), torch.randn(4, 3, 16, 16)
    with pytest.raises(InputError, match=r"no parameter 'nope'; it has 0.weight, 2.weight, 4.weight"):
        per_sample_call(module, {"nope": torch.zeros(2)}, x)
    with pytest.raises(InputError, match=r"\(4, 3, 4, 4\), expected \(B, 4, 3, 4, 4\)"):
        per_sample_call(module, {"0.weight": torch.zeros(4, 3, 4, 4)}, x)
    with pytest.raises(InputError, match="2 and 4 sets"):
        per_sample_call(module, {"0.weight": torch.zeros(2, 4, 3, 4, 4), "2.weight": torch.zeros(4, 8, 4, 4, 4)}, x)
    with pytest.raises(ValueError, match="N = 4 samples, not a multiple of the weight's B = 3"):
        per_sample_call(module, random_sets(module, 3), x)
    with pytest.raises(InputError, match="N = 4 samples, not a multiple of B = 3"):
        per_sample_call(nn.Linear(2, 2), {"weight": torch.zeros(3, 2, 2)}, torch.zeros(4, 2))

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from networks import ResNet, Tied, UNet, dcgan_critic, dcgan_generator
from torch import nn

from hyperconv import HyperConv2d, InputError, hyperize
from hyperconv.nn.hyperize import ENCODINGS

NETWORKS = {
    "resnet": (ResNet, (3, 32, 32)),
    "unet": (UNet, (3, 8, 8)),
    "generator": (dcgan_generator, (6, 1, 1)),
    "critic": (dcgan_critic, (3, 16, 16)),
}


def with_vmap(net, x, context):
    """The template through `torch.func`, one weight set at a time by vmap, the rest of the parameters as they are."""
    weights = net.weights(context)
    sets = {path: weights[name] for path, name in net.sources.items()}

    def one(own, images):
        return torch.func.functional_call(net.template, own, (images,), tie_weights=False)

    return torch.func.vmap(one)(sets, x.unflatten(0, (weights.batch, -1))).flatten(0, 1)


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_functional_call_and_vmap_and_so_do_the_gradients(name, rank):
    make, size = NETWORKS[name]
    module = make().double()
    net = hyperize(module, 5, rank=rank).eval()
    x = torch.randn(4, *size, dtype=torch.float64, requires_grad=True)
    context = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    ours, theirs = net(x, context), with_vmap(net, x, context)
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours[:2], net(x, context.flip(0))[:2])
    leaves, cotangent = [x, context, *net.parameters()], torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, leaves, cotangent), torch.autograd.grad(theirs, leaves, cotangent)
    )


def test_every_layer_is_generated_and_normalisations_stay():
    module = ResNet()
    net = hyperize(module, 5)
    kept = {name for name, _ in net.template.named_parameters()}
    assert kept == {name for name, _ in module.named_parameters() if "bn" in name or "downsample.1" in name}
    assert set(net.sources) | kept == {name for name, _ in module.named_parameters()}
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.hypernetwork.layout.size == sum(module.get_parameter(name).numel() for name in net.sources)


def test_batch_statistics_are_those_of_the_whole_batch():
    net = hyperize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 5)
    x, context = torch.randn(4, 3, 8, 8), torch.randn(2, 5)
    out = net(x, context)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    assert net.template[1].num_batches_tracked == 1 and net.template[1].running_mean.abs().sum() > 0


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("conv1", {"conv1.weight"}),
        (["layer1", "fc"], {"layer1.0.conv1.weight", "layer1.0.conv2.weight", "fc.weight", "fc.bias"}),
        ("layer?.0.conv2", {"layer1.0.conv2.weight", "layer2.0.conv2.weight"}),
        (lambda name, layer: isinstance(layer, nn.Linear), {"fc.weight", "fc.bias"}),
        (lambda name, layer: name in ("bn1", "conv1"), {"bn1.weight", "bn1.bias", "conv1.weight"}),
    ],
)
def test_include(include, expected):
    net = hyperize(ResNet(), 5, include=include)
    assert set(net.sources) == expected
    x, context = torch.randn(4, 3, 32, 32), torch.randn(4, 5)
    net.eval()
    torch.testing.assert_close(net(x, context), with_vmap(net, x, context), rtol=1e-4, atol=1e-5)


def test_a_generated_normalisation_starts_as_it_is():
    module = nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.LayerNorm((6, 6)))
    for norm in module[1:]:
        nn.init.normal_(norm.weight)
    net = hyperize(module, 5, include=lambda name, layer: True)
    weights = net.weights(torch.randn(3, 5))
    for name in ("1.weight", "1.bias", "2.weight", "2.bias"):
        torch.testing.assert_close(weights[name], module.get_parameter(name).expand_as(weights[name]))
    assert not list(net.template.parameters())


def test_a_layer_used_twice_and_a_shared_weight_are_generated_once():
    net = hyperize(Tied(), 5)
    assert set(net.hypernetwork.layout.names) == {"first.weight", "first.bias", "fc1.weight", "fc1.bias", "fc2.bias"}
    x, context = torch.randn(4, 3, 6, 6), torch.randn(2, 5)
    torch.testing.assert_close(net(x, context), with_vmap(net, x, context))
    with pytest.raises(InputError, match="'fc2.weight' is tied to 'fc1.weight'"):
        hyperize(Tied(), 5, include="fc1")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("rank", [None, 64])
def test_he_variance_at_the_start_whatever_the_magnitude_of_the_context(encoding, rank):
    module = nn.Sequential(
        nn.Conv2d(16, 64, 3),
        nn.Linear(512, 64),
        nn.ConvTranspose2d(64, 16, 4, 2, bias=False),
        nn.Conv2d(32, 64, 3, groups=4, bias=False),
    )
    fan_in = {"0.weight": 16 * 9, "1.weight": 512, "2.weight": 64 * 4, "3.weight": 8 * 9}
    net = hyperize(module, 64, rank=rank, encoding=encoding)
    direction = torch.randn(32, 64)
    for magnitude in (0.01, 1, 100):
        weights = net.weights(direction * magnitude)
        for name, fan in fan_in.items():
            assert weights[name].square().mean().item() == pytest.approx(2 / fan, rel=0.15)
        torch.testing.assert_close(weights["0.bias"], module[0].bias.expand(32, -1))
    apart = net.weights(direction)["1.weight"].flatten(1)
    correlation = torch.corrcoef(apart)[~torch.eye(32, dtype=torch.bool)]
    assert correlation.mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_context_is_encoded_to_a_constant_norm():
    context = torch.randn(100, 8) * torch.logspace(-3, 3, 100)[:, None]
    for encode, width in ENCODINGS.values():
        torch.testing.assert_close(encode(context).square().mean(1), torch.ones(100))
        assert encode(context).shape[1] == 8 * width
    near = torch.tensor([[0.0], [1.0], [-1.9], [1.9]])
    assert torch.pdist(ENCODINGS["cos_sin"][0](near)).min() > 0.1
    assert torch.equal(ENCODINGS["l2"][0](torch.zeros(1, 8)), torch.zeros(1, 8))


def test_generated_layers_keep_the_mean_square():
    layers = [nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular") for _ in range(4)]
    net = hyperize(nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU()))), 16)
    with torch.no_grad():
        out = net(torch.randn(16, 32, 8, 8), torch.randn(16, 16))
    assert out.square().mean().item() == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("rank", [None, 3])
def test_starts_at_the_module_itself(rank):
    module = ResNet().double().eval()
    net = hyperize(module, 5, include=lambda name, layer: True, rank=rank, init="module").eval()
    x, context = torch.randn(4, 3, 32, 32).double(), torch.randn(2, 5).double()
    torch.testing.assert_close(net(x, context), module(x))
    net(x, context).square().sum().backward()
    assert net.hypernetwork.projection.weight.grad.abs().sum() > 0


def test_learns_what_depends_on_the_context():
    """A blur whose strength is the context."""
    net = hyperize(nn.Conv2d(1, 1, 3, padding=1), 1, init="module")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    box = torch.full((1, 1, 3, 3), 1 / 9)
    losses = []
    for _ in range(150):
        x, strength = torch.randn(8, 1, 8, 8), torch.rand(8, 1)
        target = torch.lerp(x, F.conv2d(x, box, padding=1), strength[:, :, None, None])
        loss = F.mse_loss(net(x, strength), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_one_generation_serves_several_calls_and_other_arguments_go_through():
    class Scaled(nn.Conv2d):
        def forward(self, x, offset, scale=1.0):
            return super().forward(x) * scale + offset

    net = hyperize(Scaled(2, 2, 1), 3)
    x, context = torch.randn(4, 2, 3, 3), torch.randn(2, 3)
    weights = net.weights(context)
    torch.testing.assert_close(net(x, weights, 1.0, scale=2.0), net(x, context, 0.0) * 2 + 1)


def test_state_dict_deepcopy_and_pickle():
    net = hyperize(UNet(), 5, rank=2)
    x, context = torch.randn(4, 3, 8, 8), torch.randn(2, 5)
    other = hyperize(UNet(), 5, rank=2)
    assert not torch.allclose(other(x, context), net(x, context))
    other.load_state_dict(net.state_dict())
    for clone in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(clone(x, context), net(x, context))
        assert all(a is not b for a, b in zip(clone.parameters(), net.parameters(), strict=True))
    generated = {f"hypernetwork.{name}" for name in ("bottleneck.weight", "projection.weight", "projection.bias")}
    assert set(net.state_dict()) == generated | {
        f"template.{name}" for name in UNet().state_dict() if name.split(".")[-2] == "1"
    }


def test_the_module_is_left_as_it_is():
    module = ResNet()
    before = copy.deepcopy(module.state_dict())
    net = hyperize(module, 5)
    net(torch.randn(4, 3, 32, 32), torch.randn(2, 5)).sum().backward()
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_compiles_to_one_graph():
    net = hyperize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2)), 5)
    x, context = torch.randn(4, 3, 8, 8), torch.randn(2, 5)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, context), net(x, context))
    compiled(x, context).square().sum().backward()
    grads = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(x, context).square().sum().backward()
    torch.testing.assert_close(grads, [parameter.grad for parameter in net.parameters()])


def test_gradient_penalty_through_a_generated_critic():
    net = hyperize(dcgan_critic(width=2, channels=1), 2).double()
    context = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)

    def penalty(call):
        (slope,) = torch.autograd.grad(call(net, x, context).sum(), x, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().sum()

    leaves = [context, *net.parameters()]
    ours, theirs = penalty(lambda net, x, context: net(x, context)), penalty(with_vmap)
    torch.testing.assert_close(torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves))


def test_our_own_layer_is_a_layer_too():
    net = hyperize(HyperConv2d(3, 4, 3, activation="relu"), 5)
    x, context = torch.randn(4, 3, 6, 6), torch.randn(2, 5)
    weights = net.weights(context)
    expected = HyperConv2d(3, 4, 3, activation="relu")(x, weights["weight"], weights["bias"])
    assert torch.equal(net(x, context), expected)


def test_autocast_and_half():
    net = hyperize(UNet(), 5)
    x, context = torch.randn(4, 3, 8, 8), torch.rand(2, 5)
    exact = net(x, context)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x, context)
    half = hyperize(UNet(), 5).bfloat16()
    half.load_state_dict(net.state_dict())
    assert half(x.bfloat16(), context.bfloat16()).dtype == torch.bfloat16
    for close in (low, half(x.bfloat16(), context.bfloat16())):
        assert (close.float() - exact).norm() < 0.05 * exact.norm()


def test_errors():
    net = hyperize(UNet(), 5)
    x = torch.randn(4, 3, 8, 8)
    with pytest.raises(InputError, match=r"\(2, 6\), expected \(B, 5\)"):
        net(x, torch.randn(2, 6))
    with pytest.raises(InputError, match=r"\(5,\), expected \(B, 5\)"):
        net(x, torch.randn(5))
    with pytest.raises(InputError, match="N = 4 samples, not a multiple of B = 3"):
        net(x, torch.randn(3, 5))
    with pytest.raises(InputError, match="nothing to hyperize"):
        hyperize(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), 5)
    with pytest.raises(InputError, match="nothing to hyperize"):
        hyperize(UNet(), 5, include=lambda name, layer: False)
    with pytest.raises(InputError, match="'haed', 'x.\\*' fits none of the layers down1.0, "):
        hyperize(UNet(), 5, include=["head", "haed", "x.*"])
    with pytest.raises(InputError, match="encoding is 'sin'; choose 'cos_sin' or 'l2'"):
        hyperize(UNet(), 5, encoding="sin")
    with pytest.raises(InputError, match="init is 'zeros'; choose 'he' or 'module'"):
        hyperize(UNet(), 5, init="zeros")
    for wrong in ({"context_features": 0}, {"context_features": 5, "rank": 0}):
        with pytest.raises(InputError, match="must be at least 1"):
            hyperize(UNet(), **wrong)
    with pytest.raises(InputError, match="'0' has no weight of its own.*parametrization"):
        hyperize(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3))), 5)
    with pytest.raises(InputError, match="'0' has no weight of its own.*lazy"):
        hyperize(nn.Sequential(nn.LazyConv2d(3, 3)), 5)


def test_he_is_of_what_a_transposed_convolution_adds_up():
    net = hyperize(nn.ConvTranspose2d(32, 32, 4, 2, 1, bias=False), 8)
    with torch.no_grad():
        out = net(torch.randn(8, 32, 16, 16), torch.randn(8, 8))[:, :, 2:-2, 2:-2]
    assert out.std().item() == pytest.approx(math.sqrt(2), rel=0.1)

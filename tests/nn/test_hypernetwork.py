import copy

import pytest
import torch
from torch import nn

from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightLayout

LAYOUT = WeightLayout({"0.weight": (16, 8, 3, 3), "0.bias": (16,), "1.weight": (3, 16, 1, 1)})
SCALE = {"0.weight": 0.2, "0.bias": 0.5}


def test_weights_are_the_scaled_projection():
    net = HyperNetwork(LAYOUT, 6, scale=SCALE)
    context = torch.randn(4, 6)
    weights = net.weights(context)
    raw = LAYOUT.split(net.projection(context))
    assert weights.batch == 4
    for name, factor in {**SCALE, "1.weight": 1.0}.items():
        torch.testing.assert_close(weights[name], raw[name] * factor)


def test_one_linear_holds_every_head():
    """The published code has one Linear per tensor; one Linear whose rows are those gives the same
    weights."""
    torch.manual_seed(0)
    net = HyperNetwork(LAYOUT, 512)
    bound = 512**-0.5
    for parameter in net.projection.parameters():
        assert parameter.abs().max() <= bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    heads = {name: nn.Linear(512, LAYOUT.sizes[name]) for name in LAYOUT.names}
    with torch.no_grad():
        net.projection.weight.copy_(torch.cat([head.weight for head in heads.values()]))
        net.projection.bias.copy_(torch.cat([head.bias for head in heads.values()]))
    context = torch.randn(2, 512)
    for name, view in net.weights(context).items():
        torch.testing.assert_close(view.flatten(1), heads[name](context).flatten(1))


def test_hyperfan_gives_the_asked_variance_half_of_it_from_the_context():
    torch.manual_seed(0)
    layout = WeightLayout({"0.weight": (64, 16, 3, 3), "0.bias": (64,), "1.weight": (64, 64, 1, 1)})
    net = HyperNetwork(layout, 64, scale={"0.weight": 0.3, "0.bias": 0.5}, init="hyperfan")
    weights = net.weights(torch.randn(32, 64))
    assert not weights["0.bias"].any()
    for name, variance in {"0.weight": 0.3**2, "1.weight": 2 / 64}.items():
        rows = weights[name].flatten(1)
        assert rows.square().mean().item() == pytest.approx(variance, rel=0.05)
        correlation = torch.corrcoef(rows)[~torch.eye(32, dtype=torch.bool)]
        assert correlation.mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_rank_bounds_what_contexts_change_and_keeps_the_variance():
    torch.manual_seed(0)
    layout = WeightLayout({"0.weight": (64, 16, 3, 3), "1.weight": (64, 64, 1, 1)})
    net = HyperNetwork(layout, 64, scale={"0.weight": 0.3}, init="hyperfan", rank=8)
    assert net.projection.weight.shape == (layout.size, 8)
    flat = net.weights(torch.randn(32, 64)).flat
    assert torch.linalg.matrix_rank(flat - flat.mean(0), rtol=1e-4) == 8
    for name, variance in {"0.weight": 0.3**2, "1.weight": 2 / 64}.items():
        assert layout.split(flat)[name].square().mean().item() == pytest.approx(variance, rel=0.1)


def test_a_base_has_all_of_the_variance_and_contexts_change_nothing_at_first():
    torch.manual_seed(0)
    layout = WeightLayout({"0.weight": (64, 16, 3, 3), "0.bias": (64,), "1.weight": (64, 64, 1, 1)})
    net = HyperNetwork(layout, 64, scale={"0.weight": 0.3, "0.bias": 0.5}, init="base")
    weights = net.weights(torch.randn(2, 64))
    assert torch.equal(*weights.flat)
    assert not weights["0.bias"].any()
    for name, variance in {"0.weight": 0.3**2, "1.weight": 2 / 64}.items():
        assert weights[name].square().mean().item() == pytest.approx(variance, rel=0.05)


def test_gradients_reach_context_and_projection():
    net = HyperNetwork(LAYOUT, 6, scale=SCALE, init="hyperfan")
    context = torch.randn(2, 6, requires_grad=True)
    weights = net(context)
    (weights["0.weight"].sum() + weights["0.bias"].sum()).backward()
    assert context.grad.abs().sum() > 0
    assert torch.allclose(net.projection.bias.grad, 2 * LAYOUT.fill({**SCALE, "1.weight": 0.0}))


def test_autocast_keeps_low_precision():
    net = HyperNetwork(LAYOUT, 6, scale=SCALE)
    context = torch.randn(2, 6)
    with torch.autocast("cpu", torch.bfloat16):
        low = net.weights(context)
    assert low.flat.dtype == torch.bfloat16
    torch.testing.assert_close(low.flat.float(), net.weights(context).flat, rtol=0.02, atol=0.02)


def test_state_dict_is_the_projection_and_copies_are_equal():
    net = HyperNetwork(LAYOUT, 6, scale=SCALE)
    assert set(net.state_dict()) == {"projection.weight", "projection.bias"}
    context = torch.randn(2, 6)
    assert torch.equal(copy.deepcopy(net).weights(context).flat, net.weights(context).flat)
    double = HyperNetwork(LAYOUT, 6, scale=SCALE, dtype=torch.float64, device="cpu")
    assert double.weights(context.double()).flat.dtype == torch.float64


def test_compiles_to_one_graph():
    net = HyperNetwork(LAYOUT, 6, scale=SCALE)
    context = torch.randn(2, 6)
    compiled = torch.compile(lambda c: net.weights(c)["0.weight"].sum(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(context), net.weights(context)["0.weight"].sum())


def test_builds_without_memory_on_the_meta_device():
    with torch.device("meta"):
        net = HyperNetwork(LAYOUT, 6, scale=SCALE, init="hyperfan")
        assert net.weights(torch.zeros(2, 6))["0.weight"].shape == (2, 16, 8, 3, 3)


def test_errors():
    with pytest.raises(ValueError, match=r"\(2, 5\), expected \(B, 6\)"):
        HyperNetwork(LAYOUT, 6).weights(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="'linear', 'hyperfan' or 'base', got 'he'"):
        HyperNetwork(LAYOUT, 6, init="he")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        HyperNetwork(LAYOUT, 0)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        HyperNetwork(LAYOUT, 6, rank=0)
    with pytest.raises(ValueError, match="called nope"):
        HyperNetwork(LAYOUT, 6, scale={"nope": 1.0})


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_built_on_the_meta_device_it_computes_what_the_one_whose_state_it_loads_does(assign):
    """`scale` is not in the state_dict: loading one fills it."""
    reference = HyperNetwork(LAYOUT, 6, scale=SCALE, rank=2)
    with torch.device("meta"):
        net = HyperNetwork(LAYOUT, 6, scale=SCALE, rank=2)
    if not assign:
        net.to_empty(device="cpu").scale.fill_(float("nan"))
    net.load_state_dict(reference.state_dict(), assign=assign)
    context = torch.randn(2, 6)
    assert torch.equal(net.weights(context).flat, reference.weights(context).flat)


def test_loads_a_state_inside_the_meta_device():
    reference = HyperNetwork(LAYOUT, 6, scale=SCALE)
    with torch.device("meta"):
        net = HyperNetwork(LAYOUT, 6, scale=SCALE)
        net.load_state_dict(reference.state_dict(), assign=True)
    assert torch.equal(net.scale, reference.scale)


def test_loading_keeps_the_scale_in_its_place():
    """A captured CUDA graph reads it there."""
    net = HyperNetwork(LAYOUT, 6, scale=SCALE)
    before = net.scale
    net.load_state_dict(HyperNetwork(LAYOUT, 6, scale=SCALE).state_dict())
    assert net.scale is before


@pytest.mark.parametrize("init", ["linear", "hyperfan", "base"])
@pytest.mark.parametrize("rank", [None, 2])
def test_reset_parameters_starts_anew_as_the_constructor_does(init, rank):
    with torch.device("meta"):
        net = HyperNetwork(LAYOUT, 6, scale=SCALE, init=init, rank=rank)
    net.to_empty(device="cpu").scale.fill_(float("nan"))
    torch.manual_seed(3)
    net.reset_parameters()
    torch.manual_seed(3)
    fresh = HyperNetwork(LAYOUT, 6, scale=SCALE, init=init, rank=rank)
    context = torch.randn(2, 6)
    assert torch.equal(net.weights(context).flat, fresh.weights(context).flat)

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperconv import hyper_conv2d
from hyperconv.nn.conv import HyperConv2d, SharedConv2d

MODES = ("zeros", "reflect", "replicate", "circular")
ACTIVATE = {
    None: lambda z: z,
    "relu": F.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.2),
    "tanh": torch.tanh,
}


def twins(*args, seed=0, **kwargs):
    """The same layer, ours and PyTorch's, each built right after the same seed."""
    torch.manual_seed(seed)
    ours = HyperConv2d(*args, **kwargs)
    torch.manual_seed(seed)
    return ours, nn.Conv2d(*args, **kwargs)


def arguments(context_features):
    """Inputs of a layer of three channels: x, and a context if it takes one."""
    x = torch.randn(2, 3, 6, 6)
    return [x] if context_features is None else [x, torch.randn(2, context_features)]


@st.composite
def geometries(draw):
    groups = draw(st.sampled_from([1, 2, 3]))
    pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 2), pairs))
    return {
        "in_channels": groups * draw(st.integers(1, 3)),
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 3)))),
        "stride": 1 if padding == "same" else draw(st.one_of(st.integers(1, 3), pairs)),
        "padding": padding,
        "dilation": draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(MODES)),
    }


@settings(max_examples=60, deadline=None)
@given(geometries(), st.integers(0, 1000), st.sampled_from([(2, 9, 11), (0, 8, 8), (None, 9, 8)]))
def test_plain_layer_is_conv2d(geometry, seed, size):
    ours, theirs = twins(**geometry, seed=seed, dtype=torch.float64)
    assert isinstance(ours, nn.Conv2d)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, reference)
    batch, *pixels = size
    lead = [] if batch is None else [batch]
    x = torch.randn(*lead, geometry["in_channels"], *pixels, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_state_dict_loads_both_ways():
    ours, theirs = HyperConv2d(3, 5, 3), nn.Conv2d(3, 5, 3)
    x = torch.randn(2, 3, 8, 8)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(theirs(x), ours(x))
    fresh = HyperConv2d(3, 5, 3)
    fresh.load_state_dict(nn.Conv2d(3, 5, 3).state_dict())
    assert not torch.equal(fresh.weight, ours.weight)


def test_gradients_are_those_of_conv2d():
    ours, theirs = twins(4, 6, 3, padding=1, padding_mode="reflect", dtype=torch.float64)
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64, requires_grad=True)
    loss, reference = (layer(x).tanh().square().sum() for layer in (ours, theirs))
    got = torch.autograd.grad(loss, [x, *ours.parameters()])
    expected = torch.autograd.grad(reference, [x, *theirs.parameters()])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("mode", MODES)
def test_shared_layers_are_conv2d(mode):
    options = {"stride": 2, "padding": 1, "padding_mode": mode, "dtype": torch.float64}
    ours, theirs = SharedConv2d(4, 6, 3, **options), nn.Conv2d(4, 6, 3, **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x))
    for got, expected in zip(
        *(torch.autograd.grad(layer(x).tanh().sum(), [x, *layer.parameters()]) for layer in (ours, theirs))
    ):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("activation", ACTIVATE)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("biased", [True, False])
def test_weights_per_sample(activation, mode, biased):
    geometry = {"padding": (1, 2), "groups": 2, "padding_mode": mode}
    conv = HyperConv2d(4, 6, 3, **geometry, activation=activation, negative_slope=0.2)
    reference = nn.Conv2d(4, 6, 3, **geometry)
    weight, bias = torch.randn(3, 6, 2, 3, 3), torch.randn(3, 6)
    x = torch.randn(6, 4, 7, 8)
    out = conv(x, weight, bias if biased else None)
    with torch.no_grad():
        for n in range(6):
            reference.weight.copy_(weight[n // 2])
            reference.bias.copy_(bias[n // 2] if biased else torch.zeros(6))
            torch.testing.assert_close(out[n], ACTIVATE[activation](reference(x[n])))


@pytest.mark.parametrize("activation", ACTIVATE)
def test_own_weights_are_activated_too(activation):
    conv = HyperConv2d(3, 4, 3, activation=activation, negative_slope=0.2)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(conv(x), ACTIVATE[activation](F.conv2d(x, conv.weight, conv.bias)))


@pytest.mark.parametrize("bias", [True, False])
def test_context_generates_and_applies(bias):
    torch.manual_seed(0)
    conv = HyperConv2d(3, 4, 3, padding=1, bias=bias, context_features=5, activation="relu")
    assert set(conv.state_dict()) == {"hypernetwork.projection.weight", "hypernetwork.projection.bias"}
    nn.init.normal_(conv.hypernetwork.projection.weight)
    x, context = torch.randn(4, 3, 6, 6), torch.randn(2, 5)
    weights = conv.hypernetwork.weights(context)
    assert ("bias" in weights) == bias
    expected = hyper_conv2d(x, weights["weight"], weights.get("bias"), padding=1, activation="relu")
    assert torch.equal(conv(x, context), expected)
    assert torch.equal(conv(x, context=context), expected)
    assert not torch.allclose(expected[0], conv(x, context.flip(0))[0])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_generated_layers_keep_the_mean_square(activation):
    torch.manual_seed(0)
    options = {"context_features": 32, "activation": activation, "negative_slope": 0.2}
    layers = [HyperConv2d(48, 48, 3, padding=1, padding_mode="circular", **options) for _ in range(4)]
    x, context = torch.randn(16, 48, 8, 8), torch.randn(16, 32)
    with torch.no_grad():
        for layer in layers:
            assert x.square().mean().item() == pytest.approx(1, abs=0.35)
            x = layer(x, context)
    assert x.square().mean().item() == pytest.approx(1, abs=0.35)


def test_context_layers_train():
    torch.manual_seed(0)
    conv = HyperConv2d(2, 2, 3, padding=1, context_features=3)
    x, context, target = torch.randn(4, 2, 6, 6), torch.randn(4, 3), torch.randn(4, 2, 6, 6)
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = F.mse_loss(conv(x, context), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert conv.hypernetwork.projection.weight[-2:].abs().sum() > 0


def test_gradients_of_both_orders_through_the_context():
    conv = HyperConv2d(2, 2, 3, context_features=3, activation="leaky_relu", negative_slope=0.2).double()
    x = torch.randn(4, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    context = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (x, context))
    assert torch.autograd.gradgradcheck(conv, (x, context))


@pytest.mark.parametrize("context_features", [None, 5])
def test_deepcopy_and_pickle(context_features):
    conv = HyperConv2d(3, 4, 3, context_features=context_features, activation="tanh")
    args = arguments(context_features)
    for clone in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert torch.equal(clone(*args), conv(*args))
        assert all(a is not b for a, b in zip(clone.parameters(), conv.parameters(), strict=True))


@pytest.mark.parametrize("context_features", [None, 5])
def test_compiles_to_one_graph(context_features):
    conv = HyperConv2d(3, 4, 3, padding=1, context_features=context_features, activation="leaky_relu")
    args = arguments(context_features)
    compiled = torch.compile(conv, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*args), conv(*args))
    compiled(*args).square().sum().backward()
    grads = [parameter.grad.clone() for parameter in conv.parameters()]
    conv.zero_grad()
    conv(*args).square().sum().backward()
    torch.testing.assert_close(grads, [parameter.grad for parameter in conv.parameters()])


def test_weight_norm_parametrization():
    ours, theirs = (nn.utils.parametrizations.weight_norm(layer) for layer in twins(3, 4, 3))
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.parametrizations.weight.original0.mul_(2)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).sum().backward()
    assert ours.parametrizations.weight.original0.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("context_features", [None, 5])
def test_half_precision(dtype, context_features):
    conv = HyperConv2d(3, 4, 3, dtype=dtype, device="cpu", context_features=context_features)
    args = [argument.to(dtype) for argument in arguments(context_features)]
    out = conv(*args)
    assert out.dtype == dtype
    wide = copy.deepcopy(conv).double()(*(arg.double() for arg in args))
    torch.testing.assert_close(out.double(), wide, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("context_features", [None, 5])
def test_autocast(context_features):
    conv = HyperConv2d(3, 4, 3, context_features=context_features)
    args = arguments(context_features)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(*args)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), conv(*args), rtol=0.05, atol=0.05)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch built without torch.distributed")
def test_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = HyperConv2d(3, 4, 3, context_features=5)
        wrapped = nn.parallel.DistributedDataParallel(net)
        x, context = torch.randn(2, 3, 6, 6), torch.randn(2, 5)
        wrapped(x, context).square().sum().backward()
        expected = torch.autograd.grad(net(x, context).square().sum(), list(net.parameters()))
        torch.testing.assert_close([parameter.grad for parameter in net.parameters()], list(expected))
    finally:
        torch.distributed.destroy_process_group()


def test_repr_tells_what_differs():
    assert repr(HyperConv2d(3, 4, 3, bias=False)) == f"Hyper{nn.Conv2d(3, 4, 3, bias=False)!r}"
    plain = HyperConv2d(3, 4, 3, activation="leaky_relu", negative_slope=0.2)
    assert plain.extra_repr().endswith("activation=leaky_relu, negative_slope=0.2")
    generated = HyperConv2d(3, 4, 3, context_features=7).extra_repr()
    assert generated.endswith("context_features=7") and "bias" not in generated
    assert "bias=False" in HyperConv2d(3, 4, 3, bias=False, context_features=7).extra_repr()


def test_errors():
    conv, generating = HyperConv2d(3, 4, 3), HyperConv2d(3, 4, 3, context_features=5)
    x = torch.randn(4, 3, 6, 6)
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        HyperConv2d(3, 4, 3, activation="gelu")
    with pytest.raises(ValueError, match=r"\(2, 4, 3, 5, 5\), this layer needs \(B, 4, 3, 3, 3\)"):
        conv(x, torch.zeros(2, 4, 3, 5, 5))
    with pytest.raises(ValueError, match="N = 4 .* B = 3"):
        conv(x, torch.zeros(3, 4, 3, 3, 3))
    with pytest.raises(TypeError, match="bias was given without a weight"):
        conv(x, None, torch.zeros(4, 4))
    with pytest.raises(TypeError, match="built without context_features"):
        conv(x, context=torch.zeros(4, 5))
    for wrong in ((x,), (x, torch.zeros(4, 5), torch.zeros(4, 4))):
        with pytest.raises(TypeError, match=r"call conv\(x, context\)"):
            generating(*wrong)
    with pytest.raises(ValueError, match=r"\(4, 6\), expected \(B, 5\)"):
        generating(x, torch.zeros(4, 6))


@pytest.mark.parametrize("context_features", [None, 5])
def test_reset_parameters_starts_anew(context_features):
    layer = HyperConv2d(3, 4, 3, context_features=context_features)
    torch.manual_seed(3)
    layer.reset_parameters()
    torch.manual_seed(3)
    fresh = HyperConv2d(3, 4, 3, context_features=context_features)
    inputs = arguments(context_features)
    assert torch.equal(layer(*inputs), fresh(*inputs))


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_a_context_layer_built_on_the_meta_device_loads_whole(assign):
    reference = HyperConv2d(3, 4, 3, context_features=5)
    with torch.device("meta"):
        layer = HyperConv2d(3, 4, 3, context_features=5)
    if not assign:
        layer.to_empty(device="cpu").hypernetwork.scale.fill_(float("nan"))
    layer.load_state_dict(reference.state_dict(), assign=assign)
    inputs = arguments(5)
    assert torch.equal(layer(*inputs), reference(*inputs))


@pytest.mark.parametrize("padding_mode", MODES)
@pytest.mark.parametrize("kind", [HyperConv2d, SharedConv2d])
def test_models_are_traced_by_fx(kind, padding_mode):
    model = nn.Sequential(kind(3, 4, 3, padding=1, padding_mode=padding_mode), nn.ReLU(), kind(4, 2, 3, padding="same"))
    traced = torch.fx.symbolic_trace(model)
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(traced(x), model(x))
    assert torch.equal(pickle.loads(pickle.dumps(traced))(x), model(x))


def test_arguments_that_would_be_dropped_are_refused():
    layer = HyperConv2d(3, 4, 3, context_features=5)
    x, context = torch.randn(2, 3, 6, 6), torch.randn(2, 5)
    with pytest.raises(TypeError, match="weight and context were given.*conv\\(x, context\\)"):
        layer(x, torch.randn(2, 4, 3, 3, 3), context=context)
    with pytest.raises(TypeError, match="negative_slope must be a real number, got Parameter"):
        HyperConv2d(3, 4, 3, activation="leaky_relu", negative_slope=nn.Parameter(torch.tensor(0.1)))
    with pytest.raises(ValueError, match="choose None, 'relu'"):
        HyperConv2d(3, 4, 3, activation=["relu"])

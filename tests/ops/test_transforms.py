"""vmap, autocast, forward mode and the function transforms of torch.func."""

import pytest
import torch
import torch.nn.functional as F
from sample_loop import ACTIVATE, FAMILY, convolve_each, tensors_of
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from hyperconv import hyper_conv2d
from hyperconv.ops.schema import operator

DOUBLE = {"dtype": torch.float64}
GEOMETRY = ((1, 1), (1, 1), (1, 1), 1)
activations = pytest.mark.parametrize("activation", list(ACTIVATE))


def tensors(*leading):
    """Input, weight and bias: 4 samples on 2 weight sets, each with the leading sizes in front."""
    shapes = ((4, 2, 5, 6), (2, 3, 2, 3, 3), (2, 3))
    return tuple(torch.randn(*leading, *shape, **DOUBLE) for shape in shapes)


def loop(activation=None):
    return lambda x, w, b: ACTIVATE[activation](convolve_each(x, w, b, *GEOMETRY), 0.01)


def fused(activation=None):
    return lambda x, w, b: hyper_conv2d(x, w, b, padding=1, activation=activation)


IN_DIMS = [
    (0, 0, 0),
    (1, 0, None),
    (1, None, None),
    (None, 2, None),
    (None, None, 0),
    (2, None, 1),
    (None, 1, 1),
]


@pytest.mark.parametrize("in_dims", IN_DIMS, ids=str)
def test_vmap(quick_backend, in_dims):
    arguments = [
        tensor[0] if dim is None else tensor.movedim(0, dim) for tensor, dim in zip(tensors(3), in_dims, strict=True)
    ]
    arguments = [argument.clone().requires_grad_() for argument in arguments]
    outputs = [vmap(function, in_dims)(*arguments) for function in (fused("tanh"), loop("tanh"))]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(output.pow(2).sum(), arguments) for output in outputs))


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("batched", [(0, 0, 0), (1, None, None), (None, 0, None), (None, None, 0)], ids=str)
def test_vmap_of_the_family(backend, name, batched):
    """Against a loop over the vmapped dimension."""
    input, weight, _ = tensors(3)
    grads, masks = torch.randn(3, 4, 3, 5, 6, **DOUBLE), torch.randn(3, 4, 3, 5, 6, **DOUBLE)
    op, tail = operator(name), (*GEOMETRY, 0.2)
    function, stacked = {
        "masked_conv2d": (lambda x, w, y: op(x, w, None, y, *tail), (input, weight, masks)),
        "input_gradient": (lambda g, w, y: op(g, w, y, (5, 6), *tail), (grads, weight, masks)),
        "weight_gradient": (lambda g, x, y: op(g, x, y, 2, (3, 3), *tail), (grads, input, masks)),
        "bias_gradient": (lambda g, x, y: op(g * x.mean(), y, 2, 0.2), (grads, input, masks)),
        "parameter_gradients": (lambda g, x, y: op(g, x, y, 2, (3, 3), *tail), (grads, input, masks)),
    }[name]
    at = [lambda v, t=t, dim=dim: t[0 if dim is None else v] for t, dim in zip(stacked, batched, strict=True)]
    arguments = [t[0] if dim is None else t.movedim(0, dim) for t, dim in zip(stacked, batched, strict=True)]
    each = [tensors_of(function(*(pick(v) for pick in at))) for v in range(3)]
    expected = tuple(torch.stack(outputs) for outputs in zip(*each, strict=True))
    torch.testing.assert_close(tensors_of(vmap(function, batched)(*arguments)), expected)


def test_vmap_over_one_image_and_one_weight_each(backend):
    images, weights = torch.randn(5, 2, 7, 7, **DOUBLE), torch.randn(5, 3, 2, 3, 3, **DOUBLE)
    torch.testing.assert_close(vmap(hyper_conv2d)(images, weights), vmap(F.conv2d)(images, weights))
    shared = weights[0].requires_grad_()
    outputs = [vmap(hyper_conv2d, (0, None))(images, shared), F.conv2d(images, shared)]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(output.pow(2).sum(), shared) for output in outputs))


def test_nested_vmap(backend):
    images, weights = torch.randn(2, 3, 2, 7, 7, **DOUBLE), torch.randn(3, 4, 2, 3, 3, **DOUBLE)
    nested = [vmap(vmap(function), (0, None))(images, weights) for function in (hyper_conv2d, F.conv2d)]
    torch.testing.assert_close(*nested)


@activations
def test_func_grad(activation):
    arguments = tensors()
    gradients = [
        grad(lambda *a, f=f: f(*a).pow(2).sum(), argnums=(0, 1, 2))(*arguments)
        for f in (fused(activation), loop(activation))
    ]
    torch.testing.assert_close(*gradients)


@activations
def test_func_jvp(activation):
    arguments, tangents = tensors(), tensors()
    results = [jvp(function, arguments, tangents) for function in (fused(activation), loop(activation))]
    torch.testing.assert_close(*results)


def test_dual_tensors():
    input, weight, bias = tensors()
    tangent = torch.randn_like(weight)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(weight, tangent)
        results = [forward_ad.unpack_dual(function(input, dual, bias)).tangent for function in (fused(), loop())]
    torch.testing.assert_close(*results)
    assert results[0].abs().sum() > 0


@pytest.mark.parametrize("name", FAMILY)
def test_family_in_forward_mode(name):
    """Tangents of the raw operators: linear in each argument, so a difference of values is exact."""
    input, weight, _ = tensors()
    gradient, op, tail = torch.randn(4, 3, 5, 6, **DOUBLE), operator(name), (*GEOMETRY, 0.2)
    mask = torch.randn_like(gradient)
    function, point = {
        "masked_conv2d": (lambda x: op(x, weight, None, mask, *tail), input),
        "input_gradient": (lambda g: op(g, weight, mask, (5, 6), *tail), gradient),
        "weight_gradient": (lambda g: op(g, input, mask, 2, (3, 3), *tail), gradient),
        "bias_gradient": (lambda g: op(g, mask, 2, 0.2), gradient),
        "parameter_gradients": (lambda g: op(g, input, mask, 2, (3, 3), *tail), gradient),
    }[name]
    tangent = torch.randn_like(point)
    torch.testing.assert_close(jvp(function, (point,), (tangent,))[1], function(tangent))


@pytest.mark.parametrize("transform", [jacfwd, jacrev, hessian])
def test_jacobians(transform):
    input, weight = torch.randn(1, 1, 3, 3, **DOUBLE), torch.randn(1, 2, 1, 2, 2, **DOUBLE)
    results = [
        transform(lambda w, f=f: f(input, w).tanh().sum((2, 3)))(weight)
        for f in (hyper_conv2d, lambda x, w: convolve_each(x, w, None))
    ]
    torch.testing.assert_close(*results)


def test_per_sample_gradients():
    """vmap(grad) and grad(vmap), as differential privacy and meta-learning use them."""
    images, weight = torch.randn(5, 2, 7, 7, **DOUBLE), torch.randn(3, 2, 3, 3, **DOUBLE)
    per_sample = [
        vmap(grad(lambda w, x, f=f: f(x, w).pow(2).sum()), (None, 0))(weight, images) for f in (hyper_conv2d, F.conv2d)
    ]
    torch.testing.assert_close(*per_sample)
    total = [grad(lambda w, f=f: vmap(f, (0, None))(images, w).pow(2).sum())(weight) for f in (hyper_conv2d, F.conv2d)]
    torch.testing.assert_close(*total)


@activations
def test_autocast(backend, activation):
    input, weight, bias = (tensor.float() for tensor in tensors())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = hyper_conv2d(input, weight, bias, padding=1, activation=activation)
        mixed = hyper_conv2d(input.bfloat16(), weight, bias, padding=1, activation=activation)
    expected = hyper_conv2d(input.bfloat16(), weight.bfloat16(), bias.bfloat16(), padding=1, activation=activation)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected) and torch.equal(mixed, expected)


def test_autocast_follows_the_dtype_of_the_region(backend):
    input, weight, _ = (tensor.float() for tensor in tensors())
    with torch.autocast("cpu", dtype=torch.float16):
        assert hyper_conv2d(input, weight).dtype == torch.float16
    with torch.autocast("cpu", enabled=False):
        assert hyper_conv2d(input, weight).dtype == torch.float32


def test_autocast_keeps_the_low_precision_of_a_backward_pass(backend):
    """A backward thread may know another default than the region of the forward pass."""
    grad, weight = torch.randn(4, 3, 5, 6).bfloat16(), torch.randn(2, 3, 2, 3, 3).bfloat16()
    with torch.autocast("cpu", dtype=torch.float16):
        result = operator("input_gradient")(grad, weight, None, (5, 6), *GEOMETRY, 0.0)
    assert result.dtype == torch.bfloat16


def test_autocast_leaves_float64_alone(backend):
    arguments = tensors()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = fused()(*arguments)
    torch.testing.assert_close(output, loop()(*arguments))


def test_penalty_inside_an_autocast_region(backend):
    """Both backward passes run in the region; gradients of float32 tensors are float32 and near the exact."""

    def penalty(autocast):
        torch.manual_seed(1)
        input, weight, bias = (tensor.float().requires_grad_() for tensor in tensors())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            scores = hyper_conv2d(input, weight, bias, padding=1, activation="leaky_relu", negative_slope=0.2)
            (gradient,) = torch.autograd.grad(scores.sum(), input, create_graph=True)
            value = gradient.pow(2).sum()
            return gradient.detach(), *torch.autograd.grad(value, (weight, input), allow_unused=True)

    ours, exact = penalty(True), penalty(False)
    assert ours[0].dtype == ours[1].dtype == torch.float32 and ours[2] is exact[2] is None
    for one, other in zip(ours[:2], exact[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * other.abs().max().item())


@activations
def test_batched_backward_passes_of_channels_last(quick_backend, activation):
    """`is_grads_batched`, and what is built on it, run backward inside a vmap that asks for no memory format."""
    input, weight, bias = tensors()
    input = input.contiguous(memory_format=torch.channels_last)
    variables = [tensor.requires_grad_() for tensor in (input, weight, bias)]
    output = fused(activation)(*variables)
    grads = torch.randn(3, *output.shape, **DOUBLE)
    batched = torch.autograd.grad(output, variables, grads, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(output, variables, one, retain_graph=True) for one in grads]
    for ours, expected in zip(batched, zip(*each, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(expected))


@activations
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_batched_second_derivatives(quick_backend, activation, layout):
    """Backward through a backward pass that is itself run for several gradients at once."""
    input, weight, bias = tensors()
    variables = [t.requires_grad_() for t in (input.contiguous(memory_format=layout), weight, bias)]
    output = fused(activation)(*variables)
    grads = torch.randn(3, *output.shape, **DOUBLE).requires_grad_()

    def seconds(firsts):
        value = sum(first.square().sum() for first in firsts)
        return torch.autograd.grad(value, [*variables, grads], retain_graph=True, materialize_grads=True)

    batched = torch.autograd.grad(output, variables, grads, is_grads_batched=True, create_graph=True)
    each = [torch.autograd.grad(output, variables, one, create_graph=True) for one in grads]
    for ours, expected in zip(seconds(batched), seconds(map(torch.stack, zip(*each))), strict=True):
        torch.testing.assert_close(ours, expected)


@activations
def test_jacobians_of_channels_last(quick_backend, activation):
    input, weight, bias = tensors()

    def scores(x):
        return fused(activation)(x, weight, bias).sum((1, 2))

    expected = torch.autograd.functional.jacobian(scores, input)
    input = input.contiguous(memory_format=torch.channels_last)
    batched = torch.autograd.functional.jacobian(scores, input, vectorize=True)
    for jacobian in (jacrev(scores)(input), jacfwd(scores)(input), batched):
        torch.testing.assert_close(jacobian, expected)


@activations
def test_vmap_of_grad_of_channels_last(activation):
    _, weight, bias = tensors()
    inputs = torch.randn(3, 4, 5, 6, 2, **DOUBLE).movedim(-1, 2)
    by_input = grad(lambda x: fused(activation)(x, weight, bias).pow(2).sum())
    torch.testing.assert_close(vmap(by_input)(inputs), torch.stack([by_input(x) for x in inputs]))

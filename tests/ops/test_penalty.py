"""The gradient penalty of a critic: the same numbers as plain PyTorch, and no work that nobody reads."""

import collections

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from hyperconv import hyper_conv2d, no_weight_gradients


class CountOperators(TorchDispatchMode):
    """Counts calls of the six operators, in the forward and in the backward direction."""

    def __init__(self):
        super().__init__()
        self.calls = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "hyperconv":
            self.calls[func._opname] += 1
        return func(*args, **(kwargs or {}))


def grouped(input, weight, bias, padding, activation, negative_slope):
    sets, channels_out = weight.shape[:2]
    shared = input.shape[0] // sets
    folded = input.unflatten(0, (sets, shared)).transpose(0, 1).flatten(1, 2)
    output = F.conv2d(folded, weight.flatten(0, 1), bias.flatten(), padding=padding, groups=sets)
    output = output.unflatten(1, (sets, channels_out)).transpose(0, 1).flatten(0, 1)
    return F.leaky_relu(output, negative_slope) if activation else output


def critic(convolve, images, weights):
    for layer, (weight, bias) in enumerate(weights):
        last = layer == len(weights) - 1
        images = convolve(
            images, weight, bias, padding=0, activation=None if last else "leaky_relu", negative_slope=0.2
        )
    return images


def generated_weights():
    """Weights of 3 layers made from a leaf, as a hypernetwork makes them."""
    contexts = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    shapes = [((4, 3, 3, 3), (4,)), ((4, 4, 3, 3), (4,)), ((1, 4, 3, 3), (1,))]
    weights = []
    for shape, bias_shape in shapes:
        projection = torch.randn(6, torch.Size(shape).numel(), dtype=torch.float64) / 6
        bias_projection = torch.randn(6, *bias_shape, dtype=torch.float64) / 6
        weights.append(((contexts @ projection).unflatten(1, shape), contexts @ bias_projection))
    return contexts, weights


def penalty(convolve, images, weights):
    scores = critic(convolve, images, weights)
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return scores, gradient, ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def test_equals_grouped_convolution(backend):
    contexts, weights = generated_weights()
    images = torch.randn(4, 3, 8, 7, dtype=torch.float64, requires_grad=True)
    results = []
    for convolve in (hyper_conv2d, grouped):
        scores, gradient, value = penalty(convolve, images, weights)
        loss = scores.mean() + 10 * value
        results.append((scores, gradient, value, *torch.autograd.grad(loss, (contexts, images), retain_graph=True)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_first_backward_computes_input_gradients_only():
    _, weights = generated_weights()
    images = torch.randn(4, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    with CountOperators() as counted:
        penalty(hyper_conv2d, images, weights)
    assert counted.calls == {"conv2d": 3, "input_gradient": 3}


def test_second_backward_is_one_convolution_and_one_weight_gradient_per_layer():
    contexts, weights = generated_weights()
    images = torch.randn(4, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    _, _, value = penalty(hyper_conv2d, images, weights)
    with CountOperators() as counted:
        value.backward()
    # The cotangent of the scores' gradient (ones) is wanted by nobody: 2 convolutions for 3 layers.
    assert counted.calls == {"masked_conv2d": 2, "weight_gradient": 3}
    assert contexts.grad is not None


def test_leaf_weights_cost_nothing_in_the_first_backward():
    images = torch.randn(2, 3, 6, 6, requires_grad=True)
    weight = torch.randn(2, 4, 3, 3, 3, requires_grad=True)
    scores = hyper_conv2d(images, weight).sum()
    with CountOperators() as counted:
        torch.autograd.grad(scores, images, create_graph=True)
    assert counted.calls == {"input_gradient": 1}


def test_weight_that_was_asked_for_is_computed():
    """For a leaf among the inputs of autograd.grad the engine does not say; it must not be skipped."""
    images, weight = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(hyper_conv2d(images, weight).sum(), weight)
    assert gradient.abs().sum() > 0


def test_engine_is_asked_only_what_it_answers(monkeypatch):
    """An error inside would cost more time than a small layer takes."""
    ask, answers = torch._C._will_engine_execute_node, []
    monkeypatch.setattr(torch._C, "_will_engine_execute_node", lambda node: answers.append(ask(node)) or answers[-1])
    images = torch.randn(2, 3, 6, 6, requires_grad=True)
    weight, bias = torch.randn(2, 4, 3, 3, 3, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    with CountOperators() as counted:
        torch.autograd.grad(hyper_conv2d(images, weight, bias).sum(), (images, weight))
    assert answers == [True, True]  # a bias's gradient comes with its weight's
    assert counted.calls == {"conv2d": 1, "input_gradient": 1, "parameter_gradients": 1}


def test_without_the_private_function_of_torch(monkeypatch):
    """A torch that cannot say what a backward pass will read costs work, not correctness."""
    contexts, weights = generated_weights()
    images = torch.randn(4, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    gradients = []
    for _ in range(2):
        value = penalty(hyper_conv2d, images, weights)[-1]
        gradients += torch.autograd.grad(value, contexts, retain_graph=True)
        monkeypatch.delattr(torch._C, "_will_engine_execute_node", raising=False)
    torch.testing.assert_close(*gradients)


def test_images_without_gradient_cost_no_input_gradient():
    images, weight = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3, 3, requires_grad=True)
    bias = torch.randn(2, 4, requires_grad=True)
    with CountOperators() as counted:
        hyper_conv2d(images, weight, bias, activation="relu").sum().backward()
    assert counted.calls == {"conv2d": 1, "parameter_gradients": 1}


@pytest.mark.parametrize("wanted", ["weight", "bias"])
def test_one_parameter_alone_costs_its_own_gradient(wanted):
    images, parameters = torch.randn(2, 3, 6, 6), {"weight": torch.randn(2, 4, 3, 3, 3), "bias": torch.randn(2, 4)}
    parameters[wanted].requires_grad_()
    with CountOperators() as counted:
        hyper_conv2d(images, **parameters, activation="relu").sum().backward()
    assert counted.calls == {"conv2d": 1, f"{wanted}_gradient": 1}


@pytest.mark.parametrize(
    "read, calls", [("both", {"masked_conv2d": 1}), ("weight", {"masked_conv2d": 1}), ("bias", {})]
)
def test_derivative_of_the_gradients_that_were_read(read, calls):
    """By the gradient from above: one masked convolution; of a bias gradient alone, none."""
    images, above = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 6, 6, requires_grad=True)
    weight, bias = torch.randn(2, 4, 3, 3, 3, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    output = hyper_conv2d(images, weight, bias, padding=1, activation="leaky_relu")
    by_weight, by_bias = torch.autograd.grad(output, (weight, bias), above, create_graph=True)
    chosen = {"both": (by_weight, by_bias), "weight": (by_weight,), "bias": (by_bias,)}[read]
    with CountOperators() as counted:
        torch.autograd.grad([gradient.sum() for gradient in chosen], above)
    assert counted.calls == calls


@pytest.mark.parametrize("activation", [None, "leaky_relu", "tanh"])
def test_no_weight_gradients(activation):
    images = torch.randn(2, 3, 6, 6, requires_grad=True)
    weight, bias = torch.randn(2, 4, 3, 3, 3, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    output = hyper_conv2d(images, weight, bias, activation=activation)
    with no_weight_gradients(), CountOperators() as counted:
        output.sum().backward(retain_graph=True)
    assert counted.calls == {"input_gradient": 1}
    assert weight.grad is None and bias.grad is None and images.grad is not None
    output.sum().backward()
    assert weight.grad is not None and bias.grad is not None


def test_no_weight_gradients_leaves_the_penalty_whole():
    """Entered around the first backward only, as a trainer does; nested, and left by an error."""
    contexts, weights = generated_weights()
    images = torch.randn(4, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(penalty(hyper_conv2d, images, weights)[-1], contexts, retain_graph=True)
    with pytest.raises(KeyError), no_weight_gradients(), no_weight_gradients():
        raise KeyError
    with no_weight_gradients():
        value = penalty(hyper_conv2d, images, weights)[-1]
    (gradient,) = torch.autograd.grad(value, contexts)
    torch.testing.assert_close(gradient, expected)

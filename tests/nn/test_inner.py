import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hyperconv import FreeWeights, InputError, WeightLayout, expand_parameters, inner_step, per_sample_call

TASKS, SHOTS, STEPS, RATE = 4, 6, 2, 0.1


def small_net(**kind):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, **kind), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1, **kind))


def tasks(generator, **kind):
    """Regression of an image filtered with the task's own kernel: (support, its targets, query, its targets)."""
    kernels = torch.randn(TASKS, 1, 1, 3, 3, generator=generator, **kind)
    images = torch.randn(2, TASKS, SHOTS, 1, 6, 6, generator=generator, **kind)
    filtered = [torch.stack([F.conv2d(x, kernel, padding=1) for x, kernel in zip(half, kernels)]) for half in images]
    return images[0], filtered[0], images[1], filtered[1]


def side_by_side(net, support, support_targets, query, query_targets, rate=RATE):
    """MAML with all tasks in one batch: the loss of each task after its inner steps, (TASKS,)."""

    def losses(weights, x, y):
        return (per_sample_call(net, weights, x.flatten(0, 1)).view_as(y) - y).square().mean((1, 2, 3, 4))

    weights = expand_parameters(net, TASKS)
    for _ in range(STEPS):
        loss = losses(weights, support, support_targets).sum()
        weights = inner_step(weights, torch.autograd.grad(loss, list(weights.values()), create_graph=True), rate)
    return losses(weights, query, query_targets)


def one_by_one(net, support, support_targets, query, query_targets, rate=RATE):
    results = []
    for x, y, new, truth in zip(support, support_targets, query, query_targets):
        weights = dict(net.named_parameters())
        for _ in range(STEPS):
            loss = F.mse_loss(torch.func.functional_call(net, weights, (x,)), y)
            grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {name: weight - rate * grad for (name, weight), grad in zip(weights.items(), grads)}
        results.append(F.mse_loss(torch.func.functional_call(net, weights, (new,)), truth))
    return torch.stack(results)


def test_two_step_maml_matches_a_loop_over_tasks():
    net = small_net(dtype=torch.float64)
    batch = tasks(torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = side_by_side(net, *batch), one_by_one(net, *batch)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours.mean(), list(net.parameters())),
        torch.autograd.grad(theirs.mean(), list(net.parameters())),
    )


def test_maml_learns_to_adapt():
    net, generator = small_net(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(100):
        loss = side_by_side(net, *tasks(generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_weight_sets_and_tensors():
    layout = WeightLayout({"0.weight": (4, 1, 3, 3), "0.bias": (4,)})
    weights = FreeWeights(layout, 3).weights()
    x = torch.randn(6, 1, 5, 5)
    loss = per_sample_call(nn.Sequential(nn.Conv2d(1, 4, 3)), weights, x).square().sum()
    (grad,) = torch.autograd.grad(loss, weights.flat)
    stepped = inner_step(weights, grad, 0.1)
    assert stepped.layout == layout
    torch.testing.assert_close(stepped.flat, weights.flat - 0.1 * grad)
    torch.testing.assert_close(inner_step(weights, type(weights)(layout, grad), 0.1).flat, stepped.flat)
    torch.testing.assert_close(inner_step(weights.flat, grad, 0.1), stepped.flat)
    named = dict(weights)
    by_name = inner_step(named, layout.split(grad), 0.1)
    torch.testing.assert_close(layout.flatten(by_name), stepped.flat)


def test_a_rate_for_each_task_can_be_learned():
    weights, grads = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    rates = torch.tensor([0.0, 0.1, 1.0], requires_grad=True)
    stepped = inner_step(weights, grads, rates)
    torch.testing.assert_close(stepped, weights - rates[:, None, None] * grads)
    stepped.sum().backward()
    torch.testing.assert_close(rates.grad, -grads.sum((1, 2)))


def test_errors():
    weights = {"a": torch.zeros(2, 3), "b": torch.zeros(2)}
    with pytest.raises(InputError, match="one for each of a, b"):
        inner_step(weights, [torch.zeros(2, 3)], 0.1)
    with pytest.raises(InputError, match="one for each of a, b"):
        inner_step(weights, {"a": torch.zeros(2, 3), "c": torch.zeros(2)}, 0.1)
    with pytest.raises(InputError, match=r"grads have shape \(3,\), the weights \(2, 3\)"):
        inner_step(weights, [torch.zeros(3), torch.zeros(2)], 0.1)
    with pytest.raises(InputError, match=r"lr has shape \(3,\), .*: \(2,\)"):
        inner_step(weights, list(weights.values()), torch.zeros(3))

"""`inner_step`: gradient descent on the weights of B tasks side by side, as in MAML (Finn, Abbeel and Levine 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from hyperconv.errors import InputError
from hyperconv.nn.layout import WeightSet

Weights = TypeVar("Weights", Tensor, WeightSet, dict[str, Tensor])


def inner_step(
    weights: Weights, grads: Tensor | WeightSet | Mapping[str, Tensor] | Sequence[Tensor], lr: float | Tensor
) -> Weights:
    """weights - lr * grads, out of place, of B tasks at once; second order works through it.

    Args:
        weights: a tensor (B, ...), a `WeightSet`, or {name: (B, *shape)}, e.g. of `expand_parameters`.
        grads: as `weights`; for a `WeightSet` also its flat gradient (B, P), for a dict also the gradients in its
            order, as `torch.autograd.grad(losses.sum(), list(weights.values()), create_graph=True)` gives them.
        lr: one number, or one for each task, (B,).

    Returns the new weights, of the same kind. Raises InputError where grads or lr do not fit the weights.
    """
    if isinstance(weights, WeightSet):
        flat = grads.flat if isinstance(grads, WeightSet) else grads
        return WeightSet(weights.layout, inner_step(weights.flat, flat, lr))
    if isinstance(weights, Mapping):
        if not isinstance(grads, Mapping):
            grads = dict(zip(weights, grads, strict=True)) if len(grads) == len(weights) else {}
        if set(grads) != set(weights):
            raise InputError(f"grads do not fit the weights: expected one for each of {', '.join(weights)}")
        return {name: inner_step(weight, grads[name], lr) for name, weight in weights.items()}
    if grads.shape != weights.shape:
        raise InputError(f"grads have shape {tuple(grads.shape)}, the weights {tuple(weights.shape)}")
    if isinstance(lr, Tensor) and lr.dim():
        if lr.shape != weights.shape[:1]:
            raise InputError(f"lr has shape {tuple(lr.shape)}, expected a number or one per task: ({len(weights)},)")
        lr = lr.reshape(-1, *[1] * (weights.dim() - 1))
    return weights - lr * grads

"""`batch_norm_sets`: batch normalisation of B networks side by side, each with the statistics of its own samples."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def batch_norm_sets(
    input: Tensor,
    sets: int,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
) -> Tensor:
    """`F.batch_norm` of each of `sets` equal parts of the batch by itself, in one call.

    Args:
        input: (N, C, H, W), N a multiple of `sets`; sample n belongs to part n // (N // sets).
        weight, bias: (sets, C), or (1, C) for all.
        running_mean, running_var: (sets, C), contiguous; updated in place in training, used otherwise.

    Returns (N, C, H, W).
    """
    parts = input.unflatten(0, (sets, -1))
    side_by_side = parts.transpose(0, 1).flatten(1, 2)
    affine = (values.expand(sets, -1).reshape(-1) for values in (weight, bias))
    statistics = (None if values is None else values.view(-1) for values in (running_mean, running_var))
    output = F.batch_norm(side_by_side, *statistics, *affine, training, momentum)
    return output.unflatten(1, (sets, -1)).transpose(0, 1).flatten(0, 1)

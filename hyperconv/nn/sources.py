"""Weight sets that are parameters themselves: independent networks trained side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hyperconv.nn.layout import WeightLayout, WeightSet


class FreeWeights(nn.Module):
    """`count` independent weight sets of `layout`, one parameter `flat` (count, P).

    Every number starts normal with the standard deviation `std` names for its tensor; tensors left out (by
    default all) start as He et al. (2015), biases at zero.
    """

    def __init__(self, layout: WeightLayout, count: int, std: Mapping[str, float] | None = None):
        super().__init__()
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.layout = layout
        spread = layout.fill({**layout.he_std(), **(std or {})})
        self.flat = nn.Parameter(torch.randn(count, layout.size) * spread)

    def weights(self, index: int | slice | Sequence[int] | Tensor | None = None) -> WeightSet:
        """The sets at `index` (e.g. (B,) long), or all of them without a copy."""
        everything = WeightSet(self.layout, self.flat)
        return everything if index is None else everything.select(index)

    def forward(self, index: int | slice | Sequence[int] | Tensor | None = None) -> WeightSet:
        return self.weights(index)

    @classmethod
    def from_weight_set(cls, weight_set: WeightSet) -> FreeWeights:
        """Trainable copies of the given sets, e.g. to tune what a hypernetwork generated."""
        source = cls.__new__(cls)
        nn.Module.__init__(source)
        source.layout = weight_set.layout
        source.flat = nn.Parameter(weight_set.flat.detach().clone())
        return source

    def extra_repr(self) -> str:
        return f"{self.flat.shape[0]} x {self.layout}"

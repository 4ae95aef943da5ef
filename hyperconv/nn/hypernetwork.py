"""A hypernetwork: one matrix product turns each context vector into a whole weight set."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hyperconv.nn.layout import WeightLayout, WeightSet

OWN_SHARE = {"hyperfan": 0.5, "base": 0.0}  # of He's variance, by initialisation: what depends on the context


class HyperNetwork(nn.Module):
    """Context (B, `context_features`) -> B weight sets of `layout`: flat = projection(bottleneck(context)) * scale.

    One `nn.Linear` generates every tensor of the layout. `scale` names a constant factor per tensor, e.g.
    gain / sqrt(fan_in) for a weight (Meta Internal Learning rescales its generated weights so); tensors it
    leaves out are not scaled.

    `init`:

    - ``'linear'``: the default of `nn.Linear`. It depends on `context_features` only, so this is the
      distribution of one `nn.Linear` per tensor, as in Meta Internal Learning. The weights of two contexts
      start almost equal.
    - ``'hyperfan'``: fan-in preserving initialisation (Chang et al. 2020, "Principled weight initialization
      for hypernetworks"). For a context whose entries have mean square one, each generated weight has
      variance scale**2 (tensors without a scale: 2 / fan_in, He). Half of that variance is a base shared by
      all contexts (the projection's bias), half depends on the context: weights of unrelated contexts have
      correlation 1/2. Tensors of fewer than two dimensions are biases and start at zero.
    - ``'base'``: all of that variance is the shared base, to which the context adds a change that starts at zero
      (additive weights of magnitude-invariant parametrisations, Gonzalez Ortiz et al. 2024, "Magnitude Invariant
      Parametrizations Improve Hypernetwork Learning"). Every context starts with the same weights.

    `rank`: without one there is no bottleneck, and each of the P generated numbers has `context_features` parameters of
    its own and a bias. With one it has `rank` and a bias: a linear map without bias first takes the context to `rank`
    numbers, of the same mean square at the start.

    Raises ValueError for an unknown `init`, a scale for an unknown tensor, `context_features` or `rank` under one.
    """

    def __init__(
        self,
        layout: WeightLayout,
        context_features: int,
        scale: Mapping[str, float] | None = None,
        init: str = "linear",
        rank: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if context_features < 1:
            raise ValueError(f"context_features must be at least 1, got {context_features}")
        if rank is not None and rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        if init not in ("linear", *OWN_SHARE):
            raise ValueError(f"init must be 'linear', 'hyperfan' or 'base', got {init!r}")
        self.layout = layout
        self.context_features = context_features
        self.bottleneck = nn.Identity()
        if rank is not None:
            self.bottleneck = nn.Linear(context_features, rank, bias=False, device=device, dtype=dtype)
            nn.init.normal_(self.bottleneck.weight, std=context_features**-0.5)
        self.projection = nn.Linear(rank or context_features, layout.size, device=device, dtype=dtype)
        factors = None if scale is None else layout.fill(scale).to(self.projection.bias)
        self.register_buffer("scale", factors, persistent=False)
        if init != "linear":
            self._init_he(scale or {}, OWN_SHARE[init])

    @torch.no_grad()
    def _init_he(self, scale: Mapping[str, float], own: float) -> None:
        """He's variance, the share `own` of it from the context."""
        std = {name: 1.0 if he and name in scale else he for name, he in self.layout.he_std().items()}
        std = self.layout.fill(std).to(self.projection.bias)
        self.projection.bias.normal_().mul_(std * (1 - own) ** 0.5)
        self.projection.weight.normal_(std=self.projection.in_features**-0.5).mul_((std * own**0.5).unsqueeze(1))

    def weights(self, context: Tensor) -> WeightSet:
        """Context (B, context_features) -> the weight sets of B networks."""
        if context.dim() != 2 or context.shape[1] != self.context_features:
            shape = tuple(context.shape)
            raise ValueError(f"context has shape {shape}, expected (B, {self.context_features})")
        flat = self.projection(self.bottleneck(context))
        if self.scale is not None:
            flat = flat * self.scale.to(flat.dtype)
        return WeightSet(self.layout, flat)

    def forward(self, context: Tensor) -> WeightSet:
        return self.weights(context)

    def extra_repr(self) -> str:
        return f"{self.context_features} -> {self.layout}"

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
        self.init = init
        self.factors = None if scale is None else dict(scale)
        kind = {"device": device, "dtype": dtype}
        self.bottleneck = nn.Identity() if rank is None else _Bottleneck(context_features, rank, bias=False, **kind)
        self.projection = nn.Linear(rank or context_features, layout.size, **kind)
        self.register_buffer("scale", None if scale is None else torch.empty(layout.size, **kind), persistent=False)
        self.register_load_state_dict_post_hook(_fill_scale)
        _fill_scale(self)
        self._init_he()

    def reset_parameters(self) -> None:
        """Start anew, e.g. after `to_empty`, as the constructor does."""
        for part in (self.bottleneck, self.projection):
            if isinstance(part, nn.Linear):
                part.reset_parameters()
        _fill_scale(self)
        self._init_he()

    @torch.no_grad()
    def _init_he(self) -> None:
        """He's variance, some share of it from the context; for 'linear' nothing."""
        if self.init == "linear":
            return
        own, scaled = OWN_SHARE[self.init], self.factors or {}
        std = {name: 1.0 if he and name in scaled else he for name, he in self.layout.he_std().items()}
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


class _Bottleneck(nn.Linear):
    """A linear map that keeps the mean square of a context at the start."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.weight, std=self.in_features**-0.5)


@torch.no_grad()
def _fill_scale(net: HyperNetwork, incompatible_keys: object = None) -> None:
    """A state_dict does not hold the scale: it is filled when one is loaded, in place unless the parameters moved."""
    if net.factors is None:
        return
    bias = net.projection.bias
    if net.scale.device != bias.device:
        net.scale = torch.empty(net.layout.size, device=bias.device, dtype=bias.dtype)
    with torch.device("cpu"):
        net.scale.copy_(net.layout.fill(net.factors))

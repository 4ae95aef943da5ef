"""The templates of a Reptile-GAN. They hold no weights: a call gets a weight set, one for each task or one for all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.nn.image_norm import image_norm
from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.nn.set_norm import batch_norm_sets
from hyperconv.ops.functional import hyper_conv2d
from hyperconv.ops.transposed import hyper_conv_transpose2d

Statistics = Mapping[str, Tensor]  # of batch normalisation: {'norm1.mean': (tasks, C), 'norm1.var': ..., ...}
SLOPE = 0.2  # of the critic's leaky ReLU


class MLP:
    """Linear, ReLU, Linear: (N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.layout = WeightLayout(
            {"0.weight": (outputs, inputs), "0.bias": (outputs,), "1.weight": (outputs, outputs), "1.bias": (outputs,)}
        )

    def initial(self, source: torch.Generator) -> Tensor:
        """(P,), uniform within 1 / sqrt(inputs) of each layer, as nn.Linear."""
        bounds = {
            f"{layer}.{kind}": self.layout.shapes[f"{layer}.weight"][1] ** -0.5
            for layer in (0, 1)
            for kind in ("weight", "bias")
        }
        uniform = torch.rand(self.layout.size, generator=source, device=source.device) * 2 - 1
        return uniform * self.layout.fill(bounds).to(source.device)

    def __call__(self, x: Tensor, weights: WeightSet) -> Tensor:
        x = x.unflatten(0, (weights.batch, -1))
        x = F.relu(torch.baddbmm(weights["0.bias"][:, None], x, weights["0.weight"].mT))
        return torch.baddbmm(weights["1.bias"][:, None], x, weights["1.weight"].mT).flatten(0, 1)


class Generator:
    """DCGAN's: (N, inputs) -> images (N, channels, S, S) in [-1, 1], from 4x4 pixels up, doubling."""

    def __init__(self, config: ReptileConfig, channels: int) -> None:
        self.levels = config.levels
        inputs = config.latent * config.mlps
        widths = [inputs, *(config.top // 2**level for level in range(self.levels)), channels]
        shapes = {}
        for layer, (narrow, wide) in enumerate(pairwise(widths)):
            shapes[f"conv{layer}.weight"] = (narrow, wide, 4, 4)
            if layer < self.levels:
                shapes |= {f"norm{layer}.weight": (wide,), f"norm{layer}.bias": (wide,)}
        self.layout = WeightLayout(shapes)

    def initial(self, source: torch.Generator) -> Tensor:
        return _initial(self.layout, source)

    def initial_statistics(self) -> dict[str, Tensor]:
        """Of one network: means 0, variances 1."""
        return {
            f"norm{layer}.{kind}": torch.full(self.layout.shapes[f"norm{layer}.bias"], value)
            for layer in range(self.levels)
            for kind, value in (("mean", 0.0), ("var", 1.0))
        }

    def __call__(self, latent: Tensor, weights: WeightSet, statistics: Statistics, training: bool = True) -> Tensor:
        """What it reads (N, latent * MLPs) -> images (N, C, S, S) in [-1, 1].

        Each task's samples are normalised by their own statistics, which are kept; or, not training, by those kept.
        """
        x, sets = latent[:, :, None, None], len(statistics["norm0.mean"])
        for layer in range(self.levels + 1):
            stride, padding = (2, 1) if layer else (1, 0)
            x = hyper_conv_transpose2d(x, weights[f"conv{layer}.weight"], None, stride, padding)
            if layer < self.levels:
                norm = f"norm{layer}"
                affine = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
                kept = statistics[f"{norm}.mean"], statistics[f"{norm}.var"]
                x = F.relu(batch_norm_sets(x, sets, *affine, *kept, training))
        return torch.tanh(x)


class Critic:
    """DCGAN's with two heads, `adversarial` (real or not) and `domain` (of this domain or not).

    'dcgan': batch normalisation, whose running averages nothing reads and which therefore keeps none. 'wgan-gp':
    instance normalisation, a bias in the first convolution. Scores are logits.
    """

    def __init__(self, config: ReptileConfig, channels: int) -> None:
        self.levels, self.by_batch = config.levels, config.objective == "dcgan"
        widths = [channels, *(config.hidden * 2**level for level in range(self.levels))]
        shapes = {}
        for layer, (narrow, wide) in enumerate(pairwise(widths)):
            shapes[f"conv{layer}.weight"] = (wide, narrow, 4, 4)
            if layer:
                shapes |= {f"norm{layer}.weight": (wide,), f"norm{layer}.bias": (wide,)}
            elif not self.by_batch:
                shapes["conv0.bias"] = (wide,)
        self.layout = WeightLayout({**shapes, "heads.weight": (2, widths[-1], 4, 4)})

    def initial(self, source: torch.Generator) -> Tensor:
        return _initial(self.layout, source)

    def features(self, images: Tensor, weights: WeightSet) -> Tensor:
        """(N, C, S, S) -> (N, top, 4, 4)."""
        bias = None if self.by_batch else weights["conv0.bias"]
        x = hyper_conv2d(images, weights["conv0.weight"], bias, 2, 1, activation="leaky_relu", negative_slope=SLOPE)
        for layer in range(1, self.levels):
            x = hyper_conv2d(x, weights[f"conv{layer}.weight"], None, 2, 1)
            affine = weights[f"norm{layer}.weight"], weights[f"norm{layer}.bias"]
            if self.by_batch:
                x = batch_norm_sets(x, weights.batch, *affine)
            else:
                x = image_norm(x, *affine)
            x = F.leaky_relu(x, SLOPE)
        return x

    def __call__(self, images: Tensor, weights: WeightSet) -> tuple[Tensor, Tensor]:
        """Scores (N,) of both heads: adversarial, domain."""
        return self.heads(self.features(images, weights), weights)

    def heads(self, features: Tensor, weights: WeightSet) -> tuple[Tensor, Tensor]:
        """Features (N, top, 4, 4) -> scores (N,) of both heads."""
        scores = hyper_conv2d(features, weights["heads.weight"])
        return scores[:, 0].flatten(), scores[:, 1].flatten()


def _initial(layout: WeightLayout, source: torch.Generator) -> Tensor:
    """(P,): convolutions N(0, 0.02), scales of normalisation N(1, 0.02), biases 0, as DCGAN."""
    mean = layout.fill({name: float(_is_scale(name)) for name in layout.names})
    std = layout.fill({name: 0.0 if name.endswith("bias") else 0.02 for name in layout.names})
    drawn = torch.randn(layout.size, generator=source, device=source.device)
    return drawn * std.to(source.device) + mean.to(source.device)


def _is_scale(name: str) -> bool:
    return name.startswith("norm") and name.endswith("weight")

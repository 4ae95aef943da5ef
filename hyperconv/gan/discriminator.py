"""The patch critic: one score per receptive field, averaged over each image's own pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.data import canvas
from hyperconv.gan.template import ConvStack
from hyperconv.nn.layout import WeightSet


class Discriminator:
    """Score map of (h - 2 margin) x (w - 2 margin) for an image of h x w; no padding, no activation at the tail."""

    def __init__(
        self, channels: int, hidden: int = 64, *, depth: int = 5, negative_slope: float = 0.02, norm: bool = False
    ) -> None:
        self.stack = ConvStack(channels, hidden, 1, depth=depth, negative_slope=negative_slope, tail=None, norm=norm)
        self.margin = self.stack.margin

    def score(self, images: Tensor, sizes: Tensor, weights: WeightSet) -> Tensor:
        """Mean score of each image: canvas (N, C, H, W) and sizes (N, 2) -> (N,)."""
        scored = sizes - 2 * self.margin
        return canvas.mean(self.stack(images, weights, scored), scored)

    def gradient_penalty(
        self, real: Tensor, fake: Tensor, alpha: Tensor, sizes: Tensor, weights: WeightSet, norm: str
    ) -> Tensor:
        """WGAN-GP (Gulrajani et al. 2017, eq. 3) on alpha real + (1 - alpha) fake, for each image (N,).

        norm='pixel': the gradient of the summed score map, its norm over the channels of each pixel (SinGAN and
        its successors). norm='sample': the gradient of the mean score, its norm over the whole image (the paper).
        """
        between = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
        scored = sizes - 2 * self.margin
        score_map = self.stack(between, weights, scored)
        valid = canvas.mask(scored, *score_map.shape[-2:]).to(score_map)
        if norm == "sample":
            valid = valid / valid.sum(dim=(1, 2, 3), keepdim=True)
        (gradient,) = torch.autograd.grad(score_map, between, valid.expand_as(score_map), create_graph=True)
        if norm == "sample":
            return (gradient.flatten(1).norm(dim=1) - 1).square()
        return canvas.mean((channel_norm(gradient) - 1).square(), sizes)


def channel_norm(gradient: Tensor) -> Tensor:
    """Euclidean norm over the channels of each pixel: (N, C, H, W) -> (N, 1, H, W).

    `gradient.norm(dim=1)`, which on a CPU sums contiguous images number by number and takes eight times as long. At a
    pixel without any gradient the norm's own is zero, as there.
    """
    return gradient.square().sum(1, keepdim=True).clamp_min(1e-24).sqrt()

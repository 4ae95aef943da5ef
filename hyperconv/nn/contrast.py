"""Instance features without a download: a small net learns to tell the images of a collection apart, from any view."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.variants import views
from hyperconv.errors import InputError
from hyperconv.nn.instance_features import CONTRASTIVE, ContrastiveNet, InstanceFeatures

COMPARED = 64  # numbers that views are compared in, behind the features
TEMPERATURE = 0.2
LEARNING_RATE = 4e-3
BATCH = 64  # images of a step, at most


def train_contrastive(
    images: Tensor,
    width: int = 128,
    steps: int = 300,
    source: torch.Generator | None = None,
    *,
    mirror: bool | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> InstanceFeatures:
    """`width` features that are alike for two views of an image and differ between images (SimCLR, Chen et al. 2020).

    images: (M, 1 or 3, S, S) uint8, two or more, S at least 4. A step draws two views of each of BATCH of them (see
    `hyperconv.data.variants.views`), and the InfoNCE loss asks which two belong together, of features behind one more
    layer, which is then left out. source: on the device of the images, seed 0 there by default; the same source gives
    the same features. mirror: whether a mirrored image shows the same thing, as photos do and writing does not; None:
    where images have colours. on_step(taken, all) is called after every step. InputError for images of another kind.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or images.dtype != torch.uint8:
        raise InputError(f"images must be (M, 1 or 3, S, S) uint8, got {tuple(images.shape)} {images.dtype}")
    count, channels, size = len(images), images.shape[1], images.shape[2]
    if count < 2 or size < 4 or images.shape[3] != size:
        raise InputError(
            f"features are learned from two square images or more, of at least 4 px; got {tuple(images.shape)}"
        )
    source = torch.Generator(images.device).manual_seed(0) if source is None else source
    mirror = channels == 3 if mirror is None else mirror
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=source, device=source.device)))
        net = ContrastiveNet(channels, size, width)
        head = nn.Sequential(nn.ReLU(), nn.Linear(width, COMPARED))
    learner = nn.Sequential(net, head).to(images.device)
    adam = torch.optim.AdamW(learner.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    for step in range(steps):
        chosen = torch.randperm(count, generator=source, device=source.device)[:BATCH]
        batch = images[chosen] / 127.5 - 1
        both = torch.cat([views(batch, source, mirror), views(batch, source, mirror)])
        adam.zero_grad()
        info_nce(learner(both)).backward()
        adam.step()
        schedule.step()
        if on_step is not None:
            on_step(step + 1, steps)
    centre(net, images)
    name = f"{CONTRASTIVE}, {width} numbers, {steps} steps on {count} images of {size} px"
    return InstanceFeatures(net, CONTRASTIVE, name, width, channels, size)


@torch.no_grad()
def centre(net: ContrastiveNet, images: Tensor) -> None:
    """Give the features mean 0 over `images` (M, C, S, S) uint8: of length 1, they then differ in more than a little."""
    sums = [net(part / 127.5 - 1).sum(0) for part in images.split(BATCH)]
    net.projection.bias -= torch.stack(sums).sum(0) / len(images)


def info_nce(codes: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross entropy of finding each one's partner among all others; codes (2 N, D), n and N + n belong together.

    The normalised temperature-scaled cross entropy of SimCLR, section 2.1; a scalar.
    """
    codes = F.normalize(codes, dim=1)
    similar = (codes @ codes.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(similar, torch.arange(len(codes), device=codes.device).roll(len(codes) // 2))

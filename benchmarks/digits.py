"""Scikit-learn's digits as the quality benchmarks judge them: by a small classifier that is trained on all ten here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.data.domains import Domains

FEATURES = 32


class Classifier(nn.Module):
    """Ten digits from FEATURES numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Linear(512, FEATURES),
            nn.ReLU(),
        )
        self.top = nn.Linear(FEATURES, 10)

    @classmethod
    def trained(cls, digits: Domains, steps: int = 600) -> Classifier:
        torch.manual_seed(0)
        net, (images, labels) = cls(), everything(digits)
        adam = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(steps):
            chosen = torch.randint(len(images), (64,))
            adam.zero_grad()
            F.cross_entropy(net.top(net.features(images[chosen])), labels[chosen]).backward()
            adam.step()
        return net.requires_grad_(False).eval()


def everything(digits: Domains) -> tuple[Tensor, Tensor]:
    """All images and their labels."""
    parts = [digits.images(name) for name in digits.names]
    return torch.cat(parts), torch.cat([torch.full((len(part),), int(name)) for name, part in zip(digits.names, parts)])

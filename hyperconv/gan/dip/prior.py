"""Priors: where the instance features come from that a trained generator is to draw images of.

Stored instances, mixes of two, k-means and Gaussian mixtures are those of Data Instance Prior (Mangla et al., WACV 2022);
nearest neighbours, and the real instance beside each k-means centroid, are IC-GAN's (Casanova et al., NeurIPS 2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.errors import InputError

CHUNK = 512  # instances whose distances to all others are in memory at a time


class Prior(Protocol):
    """A distribution over instance features (F,) of length 1."""

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        """`count` of them, each by itself: (count, F)."""


class Stored:
    """The instances themselves (M, F), each as likely as any."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        return self.features[_rows(len(self.features), count, source)]


class Mixed(Stored):
    """Convex mixes of two random instances, the share of each uniform in [0, 1], brought back to length 1."""

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        one, other = super().draw(count, source), super().draw(count, source)
        share = torch.rand((count, 1), generator=source, device=source.device)
        return F.normalize(torch.lerp(one, other, share.to(one)), dim=1)


class Mixture:
    """A Gaussian mixture: weights (K,), means and standard deviations (K, F); draws are brought to length 1."""

    def __init__(self, weights: Tensor, means: Tensor, deviations: Tensor) -> None:
        self.weights, self.means, self.deviations = weights, means, deviations

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        bounds = self.weights.cumsum(0)[:-1].contiguous().to(source.device)  # without rounding's gap at the end
        of = torch.bucketize(torch.rand(count, generator=source, device=source.device), bounds).to(self.means.device)
        noise = torch.randn((count, self.means.shape[1]), generator=source, device=source.device).to(self.means)
        return F.normalize(self.means[of] + self.deviations[of] * noise, dim=1)


class Neighbours(Stored):
    """One of the `k` instances nearest to a random one, which is the nearest to itself.

    nearest: (M, k), the places of each instance's neighbours, itself among them.
    """

    def __init__(self, features: Tensor, k: int = 5) -> None:
        super().__init__(features)
        _check("k", k, len(features))
        chunks = features.split(CHUNK)
        self.nearest = torch.cat([torch.cdist(chunk, features).topk(k, largest=False).indices for chunk in chunks])

    def of(self, instances: Tensor, source: torch.Generator) -> Tensor:
        """The place of a random neighbour of each of some instances, places themselves (B,)."""
        return self.nearest[instances, _rows(self.nearest.shape[1], len(instances), source).to(instances.device)]

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        return self.features[self.of(_rows(len(self.features), count, source), source)]


def kmeans(features: Tensor, clusters: int = 10, seed: int = 0) -> Stored:
    """The instance nearest to each of `clusters` centroids; those of several centroids count once."""
    _check("clusters", clusters, len(features))
    fitted = _clustering().KMeans(clusters, n_init=3, random_state=seed).fit(_array(features))
    centroids = torch.from_numpy(fitted.cluster_centers_).to(features)
    return Stored(features[torch.cdist(centroids, features).argmin(1).unique()])


def gmm(features: Tensor, clusters: int = 10, seed: int = 0) -> Mixture:
    """A mixture of `clusters` Gaussians with diagonal covariances, fitted by expectation maximisation."""
    _check("clusters", clusters, len(features))
    _clustering()
    from sklearn.mixture import GaussianMixture

    deviation = float(features.double().std(0, correction=0).mean())
    fitted = GaussianMixture(clusters, covariance_type="diag", reg_covar=1e-3 * deviation**2 + 1e-12, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 100 steps of it are enough to draw from
        fitted.fit(_array(features))
    values = fitted.weights_, fitted.means_, fitted.covariances_**0.5
    return Mixture(*(torch.from_numpy(value).to(features) for value in values))


PRIORS: dict[str, Callable[..., Prior]] = {
    "stored": Stored,
    "mixed": Mixed,
    "kmeans": kmeans,
    "gmm": gmm,
    "neighbours": Neighbours,
}
SETTINGS = {"kmeans": ("clusters", "seed"), "gmm": ("clusters", "seed"), "neighbours": ("k",)}


def prior(name: str, features: Tensor, **settings: int) -> Prior:
    """The prior called `name` over the instance features (M, F), each of length 1.

    settings: of 'kmeans' and 'gmm' clusters (10) and seed (0), of 'neighbours' k (5). Draws come from the device of the
    features. InputError for an unknown name or setting, no features, more clusters or neighbours than instances, or
    where scikit-learn, which clusters, is not installed.
    """
    if name not in PRIORS:
        raise InputError(f"no prior is called {name!r}: choose one of {', '.join(PRIORS)}")
    if foreign := sorted(set(settings) - set(SETTINGS.get(name, ()))):
        raise InputError(f"the prior {name} has no setting {', '.join(foreign)}: leave that out")
    if features.dim() != 2 or not len(features):
        raise InputError(f"features must be (M, F) of at least one instance, got {tuple(features.shape)}")
    return PRIORS[name](features, **settings)


def _rows(among: int, count: int, source: torch.Generator) -> Tensor:
    return torch.randint(among, (count,), generator=source, device=source.device)


def _array(features: Tensor):
    return features.detach().double().cpu().numpy()


def _check(setting: str, value: int, instances: int) -> None:
    if not 1 <= value <= instances:
        raise InputError(f"{setting} is {value}: there are {instances} instances, choose 1 to {instances}")


def _clustering():
    try:
        from sklearn import cluster
    except ImportError:
        raise InputError(
            "scikit-learn, which clusters the instances, is not installed: pip install 'hyperconv[examples]', "
            "or choose the prior stored, mixed or neighbours"
        ) from None
    return cluster

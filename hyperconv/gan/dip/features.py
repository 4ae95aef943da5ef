"""The features that are an instance's prior: of a frozen network, kept in the run with the network itself."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.gan.dip.presets import DipConfig
from hyperconv.gan.noise import seeded
from hyperconv.gan.run import Run
from hyperconv.nn.contrast import train_contrastive
from hyperconv.nn.instance_features import InstanceFeatures
from hyperconv.progress import OnEach


def open_features(run: Run, domains: Domains, on_step: OnEach = None) -> tuple[InstanceFeatures | None, Tensor]:
    """The network that gives an image its features, and those of all images (M, F); made and kept where there are none.

    Without the prior there is no network, and one constant is every image's (M, 1). on_step(taken, all): called while a
    network is trained.
    """
    if run.config.prior == "none":
        return None, torch.ones(len(domains.pixels), 1, device=domains.device)
    if not run.has("features"):
        keep_features(run, make_extractor(run.config, domains, on_step), domains)
    tensors, _ = run.load("features")
    features = tensors.pop("features").to(domains.device)
    return InstanceFeatures.from_tensors(tensors).to(domains.device), features


def make_extractor(config: DipConfig, domains: Domains, on_step: OnEach = None) -> InstanceFeatures:
    """The network of the file that the configuration names, or one trained on these images by contrast."""
    if config.backbone_weights is not None:
        return InstanceFeatures.from_file(config.backbone_weights)
    source = seeded(domains.device, config.seed, "contrast")
    return train_contrastive(domains.pixels, config.feature_width, config.feature_steps, source, on_step=on_step)


def keep_features(run: Run, extractor: InstanceFeatures, domains: Domains) -> None:
    """Write the network and the features of all images, (M, F) of unit norm."""
    features = extractor.to(domains.device).of_all(domains.pixels)
    run.save("features", {**extractor.to_tensors(), "features": features}, {})

"""The meta-GAN: two hypernetworks that turn a photo into the weights of its own generators and its own critic.

Meta Internal Learning (Bensadoun et al., NeurIPS 2021): photo -> embedding -> weight sets -> template -> image.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.generator import Generator
from hyperconv.gan.noise import generator as seeded
from hyperconv.gan.noise import white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.presets import Config
from hyperconv.gan.template import ConvStack
from hyperconv.nn.embedding import build_embedding
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightSet


class PhotoHyperNetwork(nn.Module):
    """An embedding network and one head set per scale, each a single projection into a flat weight set."""

    def __init__(self, config: Config, channels: int, template: ConvStack, pretrained: bool) -> None:
        super().__init__()
        self.unit_contexts = config.context_norm == "unit"
        backbone_weights = config.backbone_weights if pretrained else None
        self.embedding = build_embedding(config.embedding, config.features, channels, backbone_weights)
        head = HyperNetwork(template.layout, config.features, scale=template.scaling(), init=config.head_init)
        self.heads = nn.ModuleList([head])

    def embed(self, photos: Tensor) -> Tensor:
        """Photos squashed to the embedding's size (B, C, S, S) in [-1, 1] -> contexts (B, features)."""
        return self.normalise(self.embedding(photos))

    def normalise(self, contexts: Tensor) -> Tensor:
        """Contexts (B, features) brought to mean square 1 where the hypernetwork is trained on such."""
        return F.rms_norm(contexts, contexts.shape[-1:]) if self.unit_contexts else contexts

    def weights(self, contexts: Tensor, scale: int) -> WeightSet:
        return self.heads[scale].weights(contexts)

    def grow(self) -> None:
        """A new scale's head set starts as a copy of the last one."""
        self.heads.append(copy.deepcopy(self.heads[-1]).requires_grad_(True))


class MetaGAN(nn.Module):
    """`generator` has a head set per scale trained so far, `discriminator` one for all scales; they share nothing.

    z_side: pixels of the square of fixed noise z*, at least the long side of the coarsest scale. pretrained=False
    leaves `config.backbone_weights` unread, for a system whose state is loaded next.
    """

    def __init__(self, config: Config, channels: int, z_side: int, *, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.generator_template = Generator(channels, config.hidden, depth=config.depth,
                                            negative_slope=config.negative_slope)
        self.discriminator_template = Discriminator(channels, config.hidden, depth=config.depth,
                                                    negative_slope=config.negative_slope)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = PhotoHyperNetwork(config, channels, self.generator_template.stack, pretrained)
            self.discriminator = PhotoHyperNetwork(config, channels, self.discriminator_template.stack,
                                                    pretrained)
        self.register_buffer("z_star", white((channels, z_side, z_side), seeded("cpu", config.seed, "z*")))

    @property
    def scales(self) -> int:
        return len(self.generator.heads)

    @torch.no_grad()
    def calibrate(self, photos: Tensor) -> None:
        """Fix the normalisation statistics of embeddings that have any, on photos (N, C, S, S)."""
        for network in (self.generator, self.discriminator):
            if hasattr(network.embedding, "calibrate"):
                network.embedding.calibrate(photos)

    def grow(self, scales: int) -> None:
        """Add head sets until there are `scales`; only the newest one stays trainable."""
        while self.scales < scales:
            self.generator.grow()
        for head in self.generator.heads[:-1]:
            head.requires_grad_(False)

    def photo_model(self, contexts: Tensor, sizes: list[Tensor], amplitudes: Tensor) -> PhotoModel:
        """The models of B photos from the generator's contexts (B, features).

        Finished scales carry no graph; the newest one's weights do, when gradients are enabled.
        """
        with torch.no_grad():
            weights = [self.generator.weights(contexts, scale) for scale in range(self.scales - 1)]
        weights.append(self.generator.weights(contexts, self.scales - 1))
        return PhotoModel(self.generator_template, weights, amplitudes, sizes, self.z_star)

"""The meta-GAN: two hypernetworks that turn a photo into the weights of its own generators and its own critic.

Meta Internal Learning (Bensadoun et al., NeurIPS 2021): photo -> embedding -> weight sets -> template -> image.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hyperconv.data.collection import Collection
from hyperconv.gan.draw import StepInputs
from hyperconv.gan.first_guess import guess
from hyperconv.gan.nets import critic_template, generator_template
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.player import Group
from hyperconv.gan.presets import Config
from hyperconv.gan.system import Generated
from hyperconv.gan.template import ConvStack
from hyperconv.nn.embedding import InstanceEmbedding, build_embedding
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightSet


class ThumbnailHead(nn.Module):
    """Thumbnails (B, pixels) -> what they add to flat weight sets (B, P): zero but for the last layer.

    `PACE` sets how fast it learns: Adam moves all numbers at one rate, and neighbouring pixels act together.
    """

    PACE = 0.25

    def __init__(self, pixels: int, template: ConvStack) -> None:
        super().__init__()
        layout, last = template.layout, template.depth - 1
        self.first = layout.offsets[f"{last}.weight"]
        self.projection = nn.Linear(pixels, layout.size - self.first, bias=False)
        nn.init.zeros_(self.projection.weight)
        scale = self.PACE * layout.fill(template.scaling())[self.first :]
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, thumbnails: Tensor) -> Tensor:
        return F.pad(self.projection(thumbnails) * self.scale, [self.first, 0])


class PhotoHyperNetwork(nn.Module):
    """An embedding network and one head set per scale, each a single projection into a flat weight set.

    With `thumbnail_side` > 0 a photo's context also holds its coarsest image, in the top-left corner of a square of
    that side, and one more projection adds to the coarsest scale's last layer what that image asks for. Where photos
    share the hidden layers, the reconstruction is (through tanh) linear in the last layer's weights, so that this
    projection can learn how any image is written into them. It starts at zero; see `hyperconv.gan.first_guess`.
    """

    def __init__(
        self, config: Config, channels: int, template: ConvStack, pretrained: bool, thumbnail_side: int = 0
    ) -> None:
        super().__init__()
        self.features = config.features
        self.thumbnail_side = thumbnail_side
        self.unit_contexts = config.context_norm == "unit"
        backbone_weights = config.backbone_weights if pretrained else None
        self.embedding = build_embedding(
            config.embedding, config.features, channels, backbone_weights, config.embedding_size
        )
        head = HyperNetwork(
            template.layout, config.features, scale=template.scaling(), init=config.head_init, rank=config.head_rank
        )
        self.heads = nn.ModuleList([head])
        if thumbnail_side:
            self.thumbnail_head = ThumbnailHead(channels * thumbnail_side**2, template)

    def embed(self, photos: Tensor, coarsest: Tensor | None = None) -> Tensor:
        """Contexts (B, features, and C side^2 of the thumbnail if there is one) of B photos in [-1, 1].

        photos: squashed to the embedding's size (B, C, S, S). coarsest: their canvas at the coarsest scale;
        only the thumbnail needs it.
        """
        contexts = self.embedding(photos)
        if self.thumbnail_side:
            contexts = torch.cat([contexts, self.thumbnails(coarsest)], dim=1)
        return self.normalise(contexts)

    def thumbnails(self, coarsest: Tensor) -> Tensor:
        """Images at the coarsest scale (B, C, H, W) -> (B, C side^2): in the top-left corner of a zero square."""
        height, width = coarsest.shape[-2:]
        return F.pad(coarsest, [0, self.thumbnail_side - width, 0, self.thumbnail_side - height]).flatten(1)

    def normalise(self, contexts: Tensor) -> Tensor:
        """Contexts as `embed` gives them, with the embedding brought to mean square 1 where such were trained on."""
        if not self.unit_contexts:
            return contexts
        embedding, thumbnail = contexts[:, : self.features], contexts[:, self.features :]
        return torch.cat([F.rms_norm(embedding, embedding.shape[1:]), thumbnail], dim=1)

    def weights(self, contexts: Tensor, scale: int) -> WeightSet:
        """The weight sets (B, P) of a scale that has been grown, from contexts of B photos as `embed` gives them."""
        weights = self.heads[scale].weights(contexts[:, : self.features])
        if scale > 0 or not self.thumbnail_side:
            return weights
        return WeightSet(weights.layout, weights.flat + self.thumbnail_head(contexts[:, self.features :]))

    def parameters_at(self, scale: int) -> list[nn.Parameter]:
        """What trains at a scale, the embedding aside."""
        thumbnail = self.thumbnail_head.parameters() if scale == 0 and self.thumbnail_side else ()
        return [*self.heads[scale].parameters(), *thumbnail]

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
        self.generator_template = generator_template(config, channels)
        self.discriminator_template = critic_template(config, channels, 0)
        stack = self.generator_template.stack()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = PhotoHyperNetwork(
                config, channels, stack, pretrained, z_side if config.first_scale_sees != "embedding" else 0
            )
            self.discriminator = PhotoHyperNetwork(config, channels, self.discriminator_template.stack, pretrained)
        if isinstance(self.generator.embedding, InstanceEmbedding):  # both see the same, of which there is one copy
            self.discriminator.embedding.prior = self.generator.embedding.prior
        self.register_buffer("z_star", white((channels, z_side, z_side), seeded("cpu", config.seed, "z*")))

    @property
    def scales(self) -> int:
        return len(self.generator.heads)

    @property
    def learns_from(self) -> int:
        """The coarsest scale that still trains: the newest."""
        return self.scales - 1

    @torch.no_grad()
    def calibrate(self, photos: Tensor) -> None:
        """Fix the normalisation statistics of embeddings that have any, on photos (N, C, S, S)."""
        for network in (self.generator, self.discriminator):
            if hasattr(network.embedding, "calibrate"):
                network.embedding.calibrate(photos)

    def prepare(self, collection: Collection) -> None:
        """Statistics of the embeddings, and a first guess of the thumbnail's projection, from the photos."""
        if most := getattr(self.generator.embedding, "CALIBRATION_PHOTOS", 0):
            few = torch.arange(len(collection))[:most]
            self.calibrate(collection.embedding_inputs(few, self.config.embedding_size).to(self.z_star.device))
        if self.generator.thumbnail_side:
            guess(self, collection)

    def grow(self, scales: int) -> None:
        """Add head sets until there are `scales`; only the newest one, and perhaps the embedding, stays trainable."""
        while self.scales < scales:
            self.generator.grow()
        for head in self.generator.heads[:-1]:
            head.requires_grad_(False)
        self.generator.embedding.requires_grad_(self.contexts_change(self.scales - 1))

    def groups(self) -> dict[str, list[Group]]:
        """What trains at the newest scale, by player."""
        scale = self.scales - 1
        embedding = list(self.generator.embedding.parameters()) if self.contexts_change(scale) else []
        return {
            "generator": [Group(self.generator.parameters_at(scale) + embedding, average=self.config.average)],
            "discriminator": [Group(list(self.discriminator.parameters()))],
        }

    def parameter_counts(self, scale: int) -> tuple[int, int]:
        """Numbers that rest, and that train, at a scale that may be still to come."""

        def count(module: nn.Module) -> int:
            return sum(parameter.numel() for parameter in module.parameters())

        head = count(self.generator.heads[0])
        everything = count(self.generator) + (scale + 1 - self.scales) * head
        resting = everything - head - (count(self.generator.embedding) if self.contexts_change(scale) else 0)
        return resting, everything - resting + count(self.discriminator)

    def contexts_change(self, scale: int) -> bool:
        """Whether the generator's embedding is learned while `scale` trains."""
        return scale == 0 or self.config.embedding_trains == "every scale"

    def contexts(self, collection: Collection, indices: Tensor) -> Tensor:
        """What the generators' weights of some photos are made from (B, features)."""
        squares = collection.embedding_inputs(indices, self.config.embedding_size)
        coarsest = collection.batch(indices, 0).images
        return self.generator.embed(squares.to(self.z_star.device), coarsest.to(self.z_star.device))

    def generate(self, inputs: StepInputs) -> Generated:
        """The weights of a step's photos; those of the newest scale and of the critics carry a graph."""
        contexts = inputs.contexts
        if contexts is None:
            contexts = self.generator.embed(inputs.squares, inputs.coarsest)
        critic = self.discriminator.weights(self.discriminator.embed(inputs.squares), 0)
        return Generated(self.generator_weights(contexts), None, critic)

    def fixed_inputs(self, photos: int) -> list[Tensor | None]:
        """z* for the coarsest scale, the same for all photos, and nothing above."""
        return [self.z_star.expand(photos, -1, -1, -1), *[None] * (self.scales - 1)]

    def photo_model(self, contexts: Tensor, sizes: list[Tensor], amplitudes: Tensor) -> PhotoModel:
        """The models of B photos from the generator's contexts.

        Finished scales carry no graph; the newest one's weights do, when gradients are enabled.
        """
        return PhotoModel(
            self.generator_template,
            self.generator_weights(contexts),
            amplitudes,
            sizes,
            self.fixed_inputs(len(contexts)),
        )

    def generator_weights(self, contexts: Tensor) -> list[WeightSet]:
        """The weight sets of every scale, coarse to fine; only the newest scale's carry a graph."""
        with torch.no_grad():
            weights = [self.generator.weights(contexts, scale) for scale in range(self.scales - 1)]
        return [*weights, self.generator.weights(contexts, self.scales - 1)]

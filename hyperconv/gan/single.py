"""GANs of single photos, many side by side: free weights in place of a hypernetwork.

SinGAN (Shaham et al., ICCV 2019) and ConSinGAN (Hinz et al., WACV 2021). Every photo has weights of its own at every
scale, and everything that is drawn for it depends on the seed and its own size. So a photo learns what it would learn
alone, whatever trains beside it.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from hyperconv.data.collection import Collection
from hyperconv.gan.draw import StepInputs
from hyperconv.gan.nets import critic_template, generator_template
from hyperconv.gan.noise import on_canvas, seeded
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.player import Group
from hyperconv.gan.presets import Config
from hyperconv.gan.system import Generated
from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.nn.sources import FreeWeights


class SingleGANs(nn.Module):
    """One pyramid GAN for each photo of a collection; a photo's context is its number there.

    generators: the weights of each scale so far, discriminator: the critics' of the newest, tail: what turns features
    into images, where those are carried from scale to scale.
    """

    def __init__(self, config: Config, collection: Collection) -> None:
        super().__init__()
        self.config, self.channels, self.photos = config, collection.channels, len(collection)
        self.collection = collection
        self.generator_template = generator_template(config, self.channels)
        self.generators = nn.ModuleList([self._source(0)])
        self.discriminator_template = critic_template(config, self.channels, 0)  # of the newest scale
        self.discriminator = self._critic_source(0)
        if not self.generator_template.carries_images:
            tail = self.generator_template.tail
            self.tail = self._free(tail.layout, tail.initial(seeded("cpu", config.seed, "tail")))
        self.fixed: list[Tensor | None] = []

    @property
    def scales(self) -> int:
        return len(self.generators)

    @property
    def device(self) -> torch.device:
        return self.discriminator.flat.device

    def prepare(self, collection: Collection) -> None:
        """Nothing is fixed before training."""

    def contexts_change(self, scale: int) -> bool:
        return False

    def contexts(self, collection: Collection, indices: Tensor) -> Tensor:
        """The photos' numbers (B,) long: weights exist for the photos of the run alone."""
        return indices.to(self.device)

    def grow(self, scales: int) -> None:
        """Add scales until there are `scales`; a new one starts as the last one, unless its nets are wider."""
        while self.scales < scales:
            scale = self.scales
            layout, last = self.generator_template.layout(scale), self.generators[-1]
            if self.generator_template.carries_images and last.layout != layout:
                source = self._source(scale)
            else:  # the last body, behind a head if there is one
                source = FreeWeights.from_weight_set(WeightSet(layout, last.flat[:, -layout.size :]))
            self.generators.append(source.to(self.device))
            self.discriminator_template = critic_template(self.config, self.channels, scale)
            if self.discriminator_template.stack.layout != self.discriminator.layout:
                self.discriminator = self._critic_source(scale).to(self.device)
        for scale, source in enumerate(self.generators):
            source.requires_grad_(scale >= self.learns_from)

    @property
    def learns_from(self) -> int:
        """The coarsest scale that still trains."""
        return max(0, self.scales - self.config.train_depth)

    def groups(self) -> dict[str, list[Group]]:
        """What trains, by player: the newest scales, each at `pace` times the rate of the next finer one."""
        training = range(self.learns_from, self.scales)
        generators = [
            Group([self.generators[scale].flat], self.config.pace ** (self.scales - 1 - scale)) for scale in training
        ]
        if not self.generator_template.carries_images:
            generators.append(Group([self.tail.flat]))
        return {"generator": generators, "discriminator": [Group([self.discriminator.flat])]}

    def parameter_counts(self, scale: int) -> tuple[int, int]:
        """Numbers that rest, and that train, at a scale that may be still to come."""
        sizes = [self.generator_template.layout(below).size for below in range(scale + 1)]
        training = sum(sizes[-self.config.train_depth :])
        if not self.generator_template.carries_images:
            training += self.generator_template.tail.layout.size
        critic = critic_template(self.config, self.channels, scale).stack.layout.size
        return self.photos * sum(sizes[: -self.config.train_depth]), self.photos * (training + critic)

    def generate(self, inputs: StepInputs) -> Generated:
        """Everybody's weights, as they are."""
        tail = None if self.generator_template.carries_images else self.tail.weights()
        return Generated([source.weights() for source in self.generators], tail, self.discriminator.weights())

    def photo_model(self, contexts: Tensor, sizes: list[Tensor], amplitudes: Tensor) -> PhotoModel:
        """The models of the photos with these numbers (B,)."""
        tail = None if self.generator_template.carries_images else self.tail.weights(contexts)
        fixed = [None if each is None else each[contexts] for each in self.fixed_inputs(self.photos)]
        weights = [source.weights(contexts) for source in self.generators]
        return PhotoModel(self.generator_template, weights, amplitudes, sizes, fixed, tail=tail)

    def fixed_inputs(self, photos: int) -> list[Tensor | None]:
        """What reconstructs all the photos at every scale so far; see PhotoModel.fixed."""
        for scale in range(len(self.fixed), self.scales):
            self.fixed.append(self._fixed(scale))
        return self.fixed

    def _fixed(self, scale: int) -> Tensor | None:
        """SinGAN fixes the coarsest noise alone; ConSinGAN the photo there, for editing with noise on it, and noise above."""
        template = self.generator_template
        if scale > 0 and template.carries_images:
            return None
        channels, margin = (
            (template.noise_channels, template.noise_margin) if scale else (template.first_noise_channels, 0)
        )
        sizes = [(height + 2 * margin, width + 2 * margin) for height, width in self.collection.sizes[scale].tolist()]
        extent = tuple(max(size[axis] for size in sizes) for axis in (0, 1))
        noise = on_canvas(channels, sizes, extent, partial(seeded, self.device, self.config.seed, "z*", scale))
        if scale > 0:
            return noise
        if self.config.fixed_input == "photo":
            photos = self.collection.batch(range(self.photos), 0).images.to(self.device)
            return photos + template.picture_noise * noise
        return noise.expand(-1, self.channels, -1, -1)

    def _source(self, scale: int) -> FreeWeights:
        source = seeded("cpu", self.config.seed, "generator", scale)
        return self._free(self.generator_template.layout(scale), self.generator_template.initial(scale, source))

    def _critic_source(self, scale: int) -> FreeWeights:
        stack = self.discriminator_template.stack
        source, he = seeded("cpu", self.config.seed, "discriminator", scale), self.config.critic_init == "he"
        return self._free(stack.layout, stack.initial(source, he))

    def _free(self, layout: WeightLayout, flat: Tensor) -> FreeWeights:
        """Every photo starts from the same weights (P,)."""
        return FreeWeights.from_weight_set(WeightSet(layout, flat.expand(self.photos, -1)))

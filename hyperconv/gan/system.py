"""What the trainer and the applications ask of a system: where the weights of the photos' GANs come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.draw import StepInputs
from hyperconv.gan.generator import Generator
from hyperconv.gan.growing import GrowingGenerator
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.player import Group
from hyperconv.gan.presets import Config
from hyperconv.nn.layout import WeightSet


class Generated(NamedTuple):
    """The weight sets of B photos: of the generators of every scale, of their tail where there is one, of the critics."""

    scales: list[WeightSet]
    tail: WeightSet | None
    critic: WeightSet

    def critics(self) -> Generated:
        """The critics alone."""
        return Generated([], None, self.critic)

    def each(self, function: Callable[[WeightSet], WeightSet]) -> Generated:
        """All of them with `function` applied."""
        tail = None if self.tail is None else function(self.tail)
        return Generated([function(weights) for weights in self.scales], tail, function(self.critic))

    def flats(self) -> list[Tensor]:
        """The flat tensors, in order."""
        tail = [] if self.tail is None else [self.tail]
        return [weights.flat for weights in (*self.scales, *tail, self.critic)]


class System(Protocol):
    """An nn.Module that supplies weights: a hypernetwork (MetaGAN), or every photo's own (SingleGANs).

    A photo's context, a row of `contexts`, is all that its generators' weights depend on.
    """

    config: Config
    channels: int
    generator_template: Generator | GrowingGenerator
    discriminator_template: Discriminator
    scales: int  # so far
    learns_from: int  # the coarsest scale that still trains

    def prepare(self, collection: Collection) -> None:
        """What is set once, from all photos, before training."""

    def grow(self, scales: int) -> None:
        """Add scales until there are `scales`, and let rest what no longer trains."""

    def groups(self) -> dict[str, list[Group]]:
        """What trains at the newest scale: {'generator': ..., 'discriminator': ...}."""

    def parameter_counts(self, scale: int) -> tuple[int, int]:
        """Numbers that rest, and that train, at a scale that may be still to come."""

    def contexts_change(self, scale: int) -> bool:
        """Whether contexts are learned while `scale` trains."""

    def contexts(self, collection: Collection, indices: Tensor) -> Tensor:
        """The contexts (B, ...) of photos of a collection."""

    def generate(self, inputs: StepInputs) -> Generated:
        """The weights of a step's photos, with a graph to what trains."""

    def fixed_inputs(self, photos: int) -> list[Tensor | None]:
        """What reconstructs a step's photos; see PhotoModel.fixed."""

    def photo_model(self, contexts: Tensor, sizes: list[Tensor], amplitudes: Tensor) -> PhotoModel:
        """The models of B photos, as far as they are trained."""

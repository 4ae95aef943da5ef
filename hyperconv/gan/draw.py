"""The chance of a step: its photos, noise and amplitudes, drawn before it and handed over as tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.data.ahead import Ahead
from hyperconv.data.augment import augmented
from hyperconv.data.collection import Collection
from hyperconv.data.images import resize
from hyperconv.data.variants import variants
from hyperconv.gan.generator import Generator
from hyperconv.gan.growing import GrowingGenerator
from hyperconv.gan.noise import on_canvas, seeded, white
from hyperconv.gan.parts import take
from hyperconv.gan.presets import Config
from hyperconv.gan.ranks import ALONE, Ranks

Template = Generator | GrowingGenerator
FEW = 4  # heights, and widths, of the canvases of one scale


class RoundNoise(NamedTuple):
    """What a round of the game draws from, B photos.

    z (B, C, h, w): the coarsest scale's input; above: for every scale after it standard normal noise
    (B, C, H + 2 margin, W + 2 margin); alpha (K,), uniform in 0..1, mixes photo and fake in the gradient penalty of
    each of K steps of the critic.
    """

    z: Tensor
    above: tuple[Tensor, ...]
    alpha: Tensor

    def rows(self, rows: slice | Tensor) -> RoundNoise:
        """That of some of the photos."""
        return RoundNoise(take(self.z, rows), tuple(take(noise, rows) for noise in self.above), self.alpha)


class Variants(NamedTuple):
    """Altered photos of one size: as the embedding sees them (V, C, S, S), and at every scale so far, coarse to fine.

    sizes (V, scales, 2): height and width there; each (V,): what their errors are multiplied with.
    """

    squares: Tensor
    images: tuple[Tensor, ...]
    sizes: Tensor
    each: Tensor


class StepInputs(NamedTuple):
    """All that a step reads beside parameters and optimizer states; B photos, on the device that trains."""

    photos: Tensor  # (B, C, H, W), canvas at the scale in training
    coarsest: Tensor | None  # (B, C, h, w), canvas at the coarsest scale; None where contexts are given
    squares: Tensor | None  # (B, C, S, S), what embeddings see; None where there are none
    contexts: Tensor | None  # what the generators' weights are made from, where it does not change; see System
    sizes: Tensor  # (B, scales, 2) long, height and width of every photo at every scale so far
    amplitudes: Tensor  # (B, all scales)
    noise: tuple[RoundNoise, ...]
    variants: Variants | None
    each: Tensor  # (B,), what the photos' losses are multiplied with
    rate: Tensor  # (), learning rate


class Loaded(NamedTuple):
    """The photos of a step, as in StepInputs but where they waited; to_alter: squares that variants are made of."""

    photos: Tensor
    coarsest: Tensor | None
    squares: Tensor | None
    to_alter: Tensor | None


def draw_noise(
    extents: list[tuple[int, int]], photos: int, generator: Template, source: torch.Generator, critic_steps: int = 1
) -> RoundNoise:
    """Noise for canvases of these heights and widths, coarse to fine."""
    margin = generator.noise_margin
    z = white((photos, generator.first_noise_channels, *extents[0]), source).expand(-1, generator.channels, -1, -1)
    above = [
        white((photos, generator.noise_channels, height + 2 * margin, width + 2 * margin), source)
        for height, width in extents[1:]
    ]
    return RoundNoise(z, tuple(above), torch.rand(critic_steps, generator=source, device=source.device))


def draw_noise_alone(
    sizes: list[list[tuple[int, int]]],
    extents: list[tuple[int, int]],
    generator: Template,
    begin: Callable[..., torch.Generator],
    critic_steps: int,
) -> RoundNoise:
    """As `draw_noise`, for photos of these sizes (per scale, coarse to fine), each getting what it would get alone.

    begin(scale or word): the stream of that part.
    """

    def noise(scale: int, channels: int, margin: int) -> Tensor:
        around = [(height + 2 * margin, width + 2 * margin) for height, width in sizes[scale]]
        extent = (extents[scale][0] + 2 * margin, extents[scale][1] + 2 * margin)
        return on_canvas(channels, around, extent, partial(begin, scale))

    z = noise(0, generator.first_noise_channels, 0).expand(-1, generator.channels, -1, -1)
    above = [noise(scale, generator.noise_channels, generator.noise_margin) for scale in range(1, len(sizes))]
    source = begin("alpha")
    return RoundNoise(z, tuple(above), torch.rand(critic_steps, generator=source, device=source.device))


class Canvases:
    """How large the canvases of a batch are: no smaller than its photos, and rounded up so that only few sizes occur.

    sizes: per scale (N, 2). The sides of a photo grow with its sides at the finest scale, so one photo of the set
    gives the height at all scales, and one the width.
    """

    def __init__(self, sizes: list[Tensor]) -> None:
        self.sizes = sizes
        self.givers = [_givers(sizes[-1][:, axis]) for axis in (0, 1)]

    def extents(self, indices: Tensor) -> list[tuple[int, int]]:
        """(height, width) at every scale, coarse to fine, for the photos `indices` (B,)."""
        largest = self.sizes[-1][indices].amax(dim=0).tolist()
        high, wide = (
            next(giver for side, giver in givers if side >= wanted) for givers, wanted in zip(self.givers, largest)
        )
        return [(int(level[high, 0]), int(level[wide, 1])) for level in self.sizes]


def _givers(sides: Tensor) -> list[tuple[int, int]]:
    """(side, a photo that has it) of at most FEW of the sides that occur, growing, the largest among them."""
    occurring = sorted({int(side): photo for photo, side in enumerate(sides)}.items())
    every = -(-len(occurring) // FEW)
    return occurring[::-1][::every][::-1]


class Draws:
    """Draws the steps of one scale: step t from (seed, scale, t) alone.

    Photos wait where the collection is, on the device, in main memory or on disk; from there they are read ahead.
    contexts (N, ...): the generators', if they do not change at this scale. awake (N,): 1 for photos that
    learn, 0 for those that do not, where each has parameters of its own. ranks: every process draws the same batch
    and gets its rows of it.
    """

    def __init__(
        self,
        collection: Collection,
        config: Config,
        scale: int,
        generator: Template,
        amplitudes: Tensor,
        contexts: Tensor | None,
        awake: Tensor,
        ranks: Ranks = ALONE,
    ) -> None:
        self.collection, self.config, self.scale, self.generator = collection, config, scale, generator
        self.amplitudes, self.contexts, self.awake, self.ranks = amplitudes, contexts, awake, ranks
        self.device = amplitudes.device
        self.canvases = Canvases(collection.sizes[: scale + 1])
        self.photos, self.coarsest = collection.canvases(scale), collection.canvases(0)
        self.load = Ahead(self._load, self.iterations) if collection.on_disk else self._load
        self.sizes = torch.stack(collection.sizes[: scale + 1], dim=1).to(self.device)

    def step(self, step: int) -> StepInputs:
        """What step `step` reads: of its batch, the rows of this process."""
        config, rows = self.config, self.ranks.rows
        batch = self._batch(step)
        extents, indices = self._extents(batch), batch[rows]
        here, loaded = send(indices, self.device), self.load(step)
        return StepInputs(
            photos=send(loaded.photos, self.device),
            coarsest=None if loaded.coarsest is None else send(loaded.coarsest, self.device),
            squares=None if loaded.squares is None else send(loaded.squares, self.device),
            contexts=None if self.contexts is None else self.contexts[here],
            sizes=self.sizes[here],
            amplitudes=self.amplitudes[here],
            noise=tuple(self._noise(step, draw, batch, extents).rows(rows) for draw in range(config.draws)),
            variants=None if loaded.to_alter is None else self._variants(step, loaded.to_alter),
            each=self.awake if config.alone else torch.full((len(indices),), 1 / len(batch), device=self.device),
            rate=torch.full((), config.rate_at(step, self.iterations), device=self.device),
        )

    @property
    def iterations(self) -> int:
        return self.config.iterations_at(self.scale)

    def _load(self, step: int) -> Loaded:
        """The photos of a step, from where they wait."""
        config, batch = self.config, self._batch(step)
        extents, indices = self._extents(batch), batch[self.ranks.rows]
        return Loaded(
            photos=self.photos(indices, extents[-1]),
            coarsest=None if self.contexts is not None else self.coarsest(indices, extents[0]),
            squares=None if config.alone else self._squares(indices),
            to_alter=self._squares(self._chosen(step)) if config.variants_at(self.scale) else None,
        )

    def _batch(self, step: int) -> Tensor:
        """Photos that alone have parameters of their own: all of them; else some, at random."""
        if self.config.alone:
            return torch.arange(len(self.collection))
        return self.collection.draw(self.config.batch_size, seeded("cpu", self.config.seed, "batch", self.scale, step))

    def _extents(self, indices: Tensor) -> list[tuple[int, int]]:
        if self.config.alone:
            return [tuple(level.amax(dim=0).tolist()) for level in self.canvases.sizes]
        return self.canvases.extents(indices)

    def _noise(self, step: int, draw: int, indices: Tensor, extents: list[tuple[int, int]]) -> RoundNoise:
        config = self.config
        if not config.alone:
            source = seeded(self.device, config.seed, self.scale, step)
            return draw_noise(extents, len(indices), self.generator, source, config.critic_steps)
        sizes = [[tuple(size) for size in level.tolist()] for level in self.collection.sizes[: self.scale + 1]]
        begin = partial(seeded, self.device, config.seed, self.scale, step, draw)
        drawn = draw_noise_alone(sizes, extents, self.generator, begin, config.critic_steps)
        if config.first_input == "noise":
            return drawn
        photos = send(self.coarsest(indices, extents[0]), self.device)
        return drawn._replace(z=augmented(photos, self.sizes[:, 0], config.first_input, partial(begin, "photo")))

    def _squares(self, indices: Tensor) -> Tensor:
        return self.collection.embedding_inputs(indices, self.config.embedding_size)

    def _chosen(self, step: int) -> Tensor:
        """The photos that a step alters (V,)."""
        choice = seeded("cpu", self.config.seed, "variants", *self._at(step))
        return torch.randint(len(self.collection), (self.config.variants_at(self.scale),), generator=choice)

    def _variants(self, step: int, photos: Tensor) -> Variants:
        chosen, source = self._chosen(step), seeded(self.device, self.config.seed, "altered", *self._at(step))
        squares = variants(send(photos, self.device), source)[self.ranks.rows]
        images = tuple(
            resize(squares, tuple(sizes[chosen[0]].tolist())) for sizes in self.collection.sizes[: self.scale + 1]
        )
        sizes = self.sizes[send(chosen[:1], self.device)].expand(len(squares), -1, -1)
        each = torch.full((len(squares),), 1 / len(chosen), device=self.device)
        return Variants(squares, images, sizes, each)

    def _at(self, step: int) -> tuple[int, ...]:
        """What names a step among those of all scales; the first scale's go by their number alone."""
        return (self.scale, step) if self.scale else (step,)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to a GPU through pinned memory, so that the host does not wait for its work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

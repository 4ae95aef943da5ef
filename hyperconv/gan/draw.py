"""The chance of a step: its photos, noise and amplitudes, drawn before it and handed over as tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.data.images import resize
from hyperconv.data.variants import variants
from hyperconv.gan.generator import Generator
from hyperconv.gan.noise import generator as seeded
from hyperconv.gan.noise import white
from hyperconv.gan.presets import Config

FEW = 4  # heights, and widths, of the canvases of one scale


class RoundNoise(NamedTuple):
    """Standard normal noise of a round of the game, B photos.

    z (B, C, h, w) for the coarsest scale; above: for every scale after it (B, C, H + 2 margin, W + 2 margin); alpha
    (), uniform in 0..1, mixes photo and fake in the gradient penalty.
    """

    z: Tensor
    above: tuple[Tensor, ...]
    alpha: Tensor

    def rows(self, rows: slice) -> RoundNoise:
        """That of some of the photos."""
        return RoundNoise(self.z[rows], tuple(noise[rows] for noise in self.above), self.alpha)


class Variants(NamedTuple):
    """Altered photos of one size: as the embedding sees them (V, C, S, S), at the coarsest scale, sizes (V, 2)."""

    squares: Tensor
    images: Tensor
    sizes: Tensor


class StepInputs(NamedTuple):
    """All that a step reads beside parameters and optimizer states; B photos, on the device that trains."""

    photos: Tensor  # (B, C, H, W), canvas at the scale in training
    coarsest: Tensor | None  # (B, C, h, w), canvas at the coarsest scale; None once the generator's embedding is frozen
    squares: Tensor  # (B, C, S, S), what the embeddings see
    contexts: Tensor | None  # (B, features) of a frozen generator's embedding
    sizes: Tensor  # (B, scales, 2) long, height and width of every photo at every scale so far
    amplitudes: Tensor  # (B, all scales)
    noise: RoundNoise
    variants: Variants | None
    rate: Tensor  # (), learning rate


def draw_noise(extents: list[tuple[int, int]], photos: int, generator: Generator, source: torch.Generator
               ) -> RoundNoise:
    """Noise for canvases of these heights and widths, coarse to fine."""
    def noise(extent: tuple[int, int], margin: int) -> Tensor:
        return white((photos, generator.channels, extent[0] + 2 * margin, extent[1] + 2 * margin), source)

    z, *above = [noise(extent, generator.margin if scale else 0) for scale, extent in enumerate(extents)]
    return RoundNoise(z, tuple(above), torch.rand((), generator=source, device=source.device))


class Canvases:
    """How large the canvases of a batch are: no smaller than its photos, and rounded up so that only few sizes occur.

    sizes: per scale (N, 2). The sides of a photo grow with its sides at the finest scale, so one photo of the set
    gives the height at all scales, and one the width.
    """

    def __init__(self, sizes: list[Tensor]) -> None:
        self.sizes = sizes
        self.givers = [_givers(sizes[-1][:, axis]) for axis in (0, 1)]

    def extents(self, indices: Tensor) -> list[tuple[int, int]]:
        """(height, width) at every scale, coarse to fine, for the photos `indices`."""
        largest = self.sizes[-1][indices].amax(dim=0).tolist()
        high, wide = (next(giver for side, giver in givers if side >= wanted)
                      for givers, wanted in zip(self.givers, largest))
        return [(int(level[high, 0]), int(level[wide, 1])) for level in self.sizes]


def _givers(sides: Tensor) -> list[tuple[int, int]]:
    """(side, a photo that has it) of at most FEW of the sides that occur, growing, the largest among them."""
    occurring = sorted({int(side): photo for photo, side in enumerate(sides)}.items())
    every = -(-len(occurring) // FEW)
    return occurring[::-1][::every][::-1]


class Draws:
    """Draws the steps of one scale: step t from (seed, scale, t) alone.

    Photos wait as one tensor per kind where the collection is: on the device, or in main memory, from which batches
    are sent. contexts (N, features): the generator's, if its embedding does not train at this scale.
    """

    def __init__(self, collection: Collection, config: Config, scale: int, generator: Generator, amplitudes: Tensor,
                 contexts: Tensor | None) -> None:
        everyone = torch.arange(len(collection))
        self.collection, self.config, self.scale, self.generator = collection, config, scale, generator
        self.amplitudes, self.contexts, self.device = amplitudes, contexts, amplitudes.device
        self.canvases = Canvases(collection.sizes[:scale + 1])
        self.photos = collection.batch(everyone, scale).images
        self.coarsest = collection.batch(everyone, 0).images if contexts is None else None
        self.sizes = torch.stack(collection.sizes[:scale + 1], dim=1).to(self.device)

    def step(self, step: int) -> StepInputs:
        config, source = self.config, seeded(self.device, self.config.seed, self.scale, step)
        indices = self.collection.draw(config.batch_size, seeded("cpu", config.seed, "batch", self.scale, step))
        extents, here = self.canvases.extents(indices), send(indices, self.device)
        rate = config.learning_rate * (config.decay if step >= config.decay_at * self.iterations else 1.0)
        return StepInputs(
            photos=self._canvas(self.photos, indices, extents[-1]),
            coarsest=None if self.coarsest is None else self._canvas(self.coarsest, indices, extents[0]),
            squares=self._squares(indices),
            contexts=None if self.contexts is None else self.contexts[here],
            sizes=self.sizes[here],
            amplitudes=self.amplitudes[here],
            noise=draw_noise(extents, len(indices), self.generator, source),
            variants=self._variants(step, source) if config.variants and self.scale == 0 else None,
            rate=torch.full((), rate, device=self.device),
        )

    @property
    def iterations(self) -> int:
        return self.config.iterations_at(self.scale)

    def _canvas(self, photos: Tensor, indices: Tensor, extent: tuple[int, int]) -> Tensor:
        taken = photos[:, :, :extent[0], :extent[1]][send(indices, photos.device)]
        return send(taken.contiguous(), self.device)

    def _squares(self, indices: Tensor) -> Tensor:
        return send(self.collection.embedding_inputs(indices, self.config.embedding_size), self.device)

    def _variants(self, step: int, source: torch.Generator) -> Variants:
        choice = seeded("cpu", self.config.seed, "variants", step)
        chosen = torch.randint(len(self.collection), (self.config.variants,), generator=choice)
        squares = variants(self._squares(chosen), source)
        size = self.sizes[send(chosen[:1], self.device), 0]
        height, width = self.collection.sizes[0][chosen[0]].tolist()
        return Variants(squares, resize(squares, (height, width)), size.expand(len(chosen), -1))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to a GPU through pinned memory, so that the host does not wait for its work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

"""The pyramid GANs of some photos, ready to draw from: what every weight source produces and every application uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from hyperconv.data import canvas
from hyperconv.data.canvas import Grid
from hyperconv.gan.generator import Generator
from hyperconv.gan.growing import GrowingGenerator
from hyperconv.gan.noise import white
from hyperconv.nn.layout import WeightSet

Noise = Callable[[tuple[int, ...], int], "Tensor | None"]


def no_noise(shape: tuple[int, ...], scale: int) -> None:
    """Images as the scales below ask for them, nothing added."""


class Carried(NamedTuple):
    """What a scale hands to the next one: images, or features, of N rows (N, C, H, W) where `at` says."""

    values: Tensor
    at: Grid
    scale: int

    def repeated(self, times: int) -> Carried:
        """Every row `times` times, one after another."""
        sizes = self.at.sizes.repeat_interleave(times, dim=0)
        return self._replace(values=self.values.repeat_interleave(times, dim=0), at=self.at._replace(sizes=sizes))


@dataclass(frozen=True)
class PhotoModel:
    """B photos, each with a generator of its own at every scale, coarse to fine.

    weights: one WeightSet of batch B per scale; tail: what turns features into images, where features are carried.
    amplitudes (B, scales): what noise is multiplied with. sizes: per scale (B, 2), height and width of each image.
    fixed: per scale what reconstructs the photos: for the coarsest (B, C, H, W), its input; above, noise
    (B, C, H, W) or None. Each photo takes the top-left corner. Images live on canvases (hyperconv.data.canvas); with
    R draws of each photo a canvas has N = B R rows, draw r of photo b at b R + r. extents: height and width of the
    canvas at each scale; None: as large as the largest image, which reads the sizes on the host. trained: what sizes
    were in training, if they are others now.

    Noise is a function of a shape (N, C, H, W) and a scale: standard normal, or None for none.
    """

    generator: Generator | GrowingGenerator
    weights: list[WeightSet]
    amplitudes: Tensor
    sizes: list[Tensor]
    fixed: list[Tensor | None]
    extents: list[tuple[int, int]] | None = None
    tail: WeightSet | None = None
    trained: list[Tensor] | None = None

    @property
    def batch(self) -> int:
        return self.sizes[0].shape[0]

    @property
    def scales(self) -> int:
        return len(self.weights)

    @property
    def device(self) -> torch.device:
        return self.amplitudes.device

    def extent(self, scale: int) -> tuple[int, int]:
        """Height and width of the canvas at `scale`."""
        return tuple(self.sizes[scale].amax(dim=0).tolist()) if self.extents is None else self.extents[scale]

    def grid(self, scale: int, rows: int | None = None) -> Grid:
        """Where the images of `rows` rows (default: one of each photo) lie at `scale`."""
        times = (rows or self.batch) // self.batch
        trained = None if self.trained is None else self.trained[scale].repeat_interleave(times, dim=0)
        return Grid(self.sizes[scale].repeat_interleave(times, dim=0), self.extent(scale), trained)

    def begin(self, z: Tensor) -> Carried:
        """The coarsest scale on its input (N, C, H, W): noise, or where features are carried also images."""
        at = self.grid(0, len(z))
        return Carried(self.generator.first(z, at, self.weights[0]), at, 0)

    def next(self, below: Carried, noise: Noise) -> Carried:
        """One scale on top of what the scale below it carries. Valid inside each image's size only."""
        scale, rows, margin = below.scale + 1, len(below.values), self.generator.noise_margin
        at = self.grid(scale, rows)
        drawn = noise((rows, self.generator.noise_channels, *at.grown(2 * margin).extent), scale)
        if drawn is not None:
            amplitude = self.amplitudes[:, scale].repeat_interleave(rows // self.batch)
            drawn = drawn * amplitude.view(-1, 1, 1, 1)
        values = self.generator.next(below.values, below.at, at, drawn, self.weights[scale], scale)
        return Carried(values, at, scale)

    def climb(self, below: Carried, noise: Noise, stop: int | None = None) -> Carried:
        """All scales on top of `below`, up to but not including `stop`."""
        while below.scale + 1 < (self.scales if stop is None else stop):
            below = self.next(below, noise)
        return below

    def images(self, carried: Carried) -> Tensor:
        """The images (N, C, H, W) of what a scale carries. Valid inside each image's size only."""
        return self.generator.image(carried.values, carried.at, self.tail)

    def carry(self, images: Tensor, at: Grid, scale: int) -> Carried:
        """Images (N, C, H, W) as if `scale` had made them. ValueError where features are carried."""
        if not self.generator.carries_images:
            raise ValueError("this generator carries features from scale to scale: images go in at the coarsest only")
        return Carried(images, at, scale)

    def z(self, draws: int, source: torch.Generator) -> Tensor:
        """Noise for the coarsest scale (B draws, C, H, W)."""
        channels = self.generator.first_noise_channels
        drawn = white((self.batch * draws, channels, *self.extent(0)), source)
        return drawn.expand(-1, self.generator.channels, -1, -1)

    def z_fixed(self) -> Tensor:
        """The reconstruction's input of the coarsest scale (B, C, H, W)."""
        height, width = self.extent(0)
        return self.fixed[0][:, :, :height, :width]

    def fixed_noise(self, shape: tuple[int, ...], scale: int) -> Tensor | None:
        """The reconstruction's noise above the coarsest scale."""
        fixed = self.fixed[scale]
        return None if fixed is None else fixed[:, :, : shape[2], : shape[3]]

    def climb_fixed(self, stop: int | None = None) -> Carried:
        """What the reconstruction carries at scale `stop` - 1 (default: the finest)."""
        return self.climb(self.begin(self.z_fixed()), self.fixed_noise, stop)

    def reconstruct(self, stop: int | None = None) -> Tensor:
        """The photos as their models know them (B, C, H, W), at scale `stop` - 1 (default: the finest)."""
        return self.images(self.climb_fixed(stop))

    def sample(self, draws: int, source: torch.Generator) -> Tensor:
        """`draws` random images of each photo (B draws, C, H, W)."""
        return self.images(self.climb(self.begin(self.z(draws, source)), lambda shape, scale: white(shape, source)))

    def amplitude(self, scale: int, photos: Tensor, factor: float) -> Tensor:
        """(B,): factor x RMSE between what the scales below reconstruct and the photos (canvas) at `scale`.

        Where images are carried, of the image enlarged to `scale`; where features are, of what `scale` makes of them
        without noise of its own. The coarsest scale is all noise: 1.
        """
        if scale == 0:
            return torch.ones_like(self.amplitudes[:, 0])
        below, at = self.climb_fixed(stop=scale), self.grid(scale)
        if self.generator.carries_images:
            images = self.generator.enlarge(below.values, below.at, at)
        else:
            images = self.images(self.next(below, no_noise))
        return factor * canvas.mean((images - photos).square(), at.sizes).sqrt()

    def with_amplitudes(self, photos: Sequence[Tensor], factor: float) -> PhotoModel:
        """The same models with amplitudes measured on the photos' own pyramids (one canvas per scale)."""
        model = self
        for scale in range(self.scales):
            amplitudes = model.amplitudes.clone()
            amplitudes[:, scale] = model.amplitude(scale, photos[scale], factor)
            model = replace(model, amplitudes=amplitudes)
        return model

    def resized(self, sizes: list[Tensor]) -> PhotoModel:
        """The same models asked for images of other sizes."""
        return replace(self, sizes=sizes, extents=None, trained=self.trained or self.sizes)

    def select(self, index: int) -> PhotoModel:
        """The model of one photo."""
        return replace(self.rows(slice(index, index + 1)), extents=None)

    def rows(self, rows: slice | Tensor, extents: list[tuple[int, int]] | None = None) -> PhotoModel:
        """The models of some of the photos, on canvases as large as before, or on smaller ones."""
        return replace(
            self,
            weights=[w.select(rows) for w in self.weights],
            amplitudes=self.amplitudes[rows],
            sizes=[s[rows] for s in self.sizes],
            fixed=[None if f is None else f[rows] for f in self.fixed],
            tail=None if self.tail is None else self.tail.select(rows),
            extents=extents or self.extents,
            trained=None if self.trained is None else [t[rows] for t in self.trained],
        )

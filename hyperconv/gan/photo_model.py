"""The pyramid GANs of some photos, ready to draw from: what every weight source produces and every application uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hyperconv.data import canvas
from hyperconv.gan.generator import Generator
from hyperconv.gan.noise import white
from hyperconv.nn.layout import WeightSet

Noise = Callable[[tuple[int, ...]], "Tensor | None"]


def no_noise(shape: tuple[int, ...]) -> None:
    """The noise of a reconstruction above the coarsest scale."""


@dataclass(frozen=True)
class PhotoModel:
    """B photos, each with a generator of its own at every scale, coarse to fine.

    weights: one WeightSet of batch B per scale. amplitudes (B, scales): what noise is multiplied with. sizes: per
    scale (B, 2), height and width of each image. z_star (C, side, side): the noise that reconstructs, the same for
    all photos (each takes its top-left corner). Images live on canvases (hyperconv.data.canvas); with R draws of
    each photo a canvas has N = B R rows, draw r of photo b at b R + r. extents: height and width of the canvas at
    each scale; None: as large as the largest image, which reads the sizes on the host.
    """

    generator: Generator
    weights: list[WeightSet]
    amplitudes: Tensor
    sizes: list[Tensor]
    z_star: Tensor
    extents: list[tuple[int, int]] | None = None

    @property
    def batch(self) -> int:
        return self.sizes[0].shape[0]

    @property
    def scales(self) -> int:
        return len(self.weights)

    def sizes_at(self, scale: int, images: Tensor) -> Tensor:
        """Sizes of the N rows of `images` at `scale`."""
        return self.sizes[scale].repeat_interleave(images.shape[0] // self.batch, dim=0)

    def extent(self, scale: int) -> tuple[int, int]:
        """Height and width of the canvas at `scale`."""
        return tuple(self.sizes[scale].amax(dim=0).tolist()) if self.extents is None else self.extents[scale]

    def coarsest(self, z: Tensor) -> Tensor:
        """Noise (N, C, H, W) for the coarsest scale: `z`, made zero beyond each image's size."""
        return z * canvas.mask(self.sizes_at(0, z), *z.shape[-2:]).to(z)

    def z(self, draws: int, source: torch.Generator) -> Tensor:
        """Noise for the coarsest scale (B draws, C, H, W), zero beyond each image's size."""
        return self.coarsest(white((self.batch * draws, self.generator.channels, *self.extent(0)), source))

    def z_fixed(self) -> Tensor:
        """The reconstruction's noise (B, C, H, W)."""
        height, width = self.extent(0)
        return self.coarsest(self.z_star[:, :height, :width].expand(self.batch, -1, -1, -1))

    def upsample(self, images: Tensor, scale: int) -> Tensor:
        """Images of scale - 1 brought to `scale`, each to its own size; zero beyond it."""
        to_sizes = self.sizes_at(scale, images)
        return canvas.resample(images, self.sizes_at(scale - 1, images), to_sizes, self.extent(scale))

    def apply(self, scale: int, below: Tensor, noise: Noise) -> Tensor:
        """One scale: `below` is z at scale 0, else the images of scale - 1. Valid inside each image's size only."""
        if scale == 0:
            return self.generator.first(below, self.weights[0])
        below = self.upsample(below, scale)
        rows, channels, height, width = below.shape
        drawn = noise((rows, channels, height + 2 * self.generator.margin, width + 2 * self.generator.margin))
        if drawn is not None:
            amplitude = self.amplitudes[:, scale].repeat_interleave(rows // self.batch)
            drawn = drawn * amplitude.view(-1, 1, 1, 1)
        return self.generator.next(below, drawn, self.weights[scale])

    def climb(self, below: Tensor, noise: Noise, start: int = 0, stop: int | None = None) -> Tensor:
        """Scales start .. stop - 1 (default: all) on top of `below` (see `apply`); the images of the last one."""
        for scale in range(start, self.scales if stop is None else stop):
            below = self.apply(scale, below, noise)
        return below

    def reconstruct(self, stop: int | None = None) -> Tensor:
        """The photos as their models know them (B, C, H, W): z* at the coarsest scale, no noise above."""
        return self.climb(self.z_fixed(), no_noise, stop=stop)

    def sample(self, draws: int, source: torch.Generator) -> Tensor:
        """`draws` random images of each photo (B draws, C, H, W)."""
        return self.climb(self.z(draws, source), lambda shape: white(shape, source))

    def amplitude(self, scale: int, photos: Tensor, factor: float) -> Tensor:
        """(B,): factor x RMSE between the upsampled reconstruction of scale - 1 and the photos (canvas) at `scale`.

        The coarsest scale is all noise: 1.
        """
        if scale == 0:
            return torch.ones_like(self.amplitudes[:, 0])
        error = self.upsample(self.reconstruct(stop=scale), scale) - photos
        return factor * canvas.mean(error.square(), self.sizes[scale]).sqrt()

    def with_amplitudes(self, photos: Sequence[Tensor], factor: float) -> PhotoModel:
        """The same models with amplitudes measured on the photos' own pyramids (one canvas per scale)."""
        columns = [self.amplitude(scale, photos[scale], factor) for scale in range(self.scales)]
        return replace(self, amplitudes=torch.stack(columns, dim=1))

    def resized(self, sizes: list[Tensor]) -> PhotoModel:
        """The same models asked for images of other sizes."""
        return replace(self, sizes=sizes, extents=None)

    def select(self, index: int) -> PhotoModel:
        """The model of one photo."""
        return replace(self.rows(slice(index, index + 1)), extents=None)

    def rows(self, rows: slice) -> PhotoModel:
        """The models of some of the photos, on canvases as large as before."""
        return replace(self, weights=[w.select(rows) for w in self.weights], amplitudes=self.amplitudes[rows],
                       sizes=[s[rows] for s in self.sizes])

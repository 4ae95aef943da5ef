"""The image pyramid: one photo at growing sizes, aspect ratio kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hyperconv.data.images import resize
from hyperconv.errors import InputError

MIN_SIDE = 11  # receptive field of the five 3x3 convolutions of one scale


def scale_count_for(min_size: int, max_size: int, ratio: float = 0.6) -> int:
    """Scales so that neighbours differ by no more than `ratio` (as Meta Internal Learning's public code)."""
    if min_size == max_size:
        return 1
    return math.ceil(math.log(min_size / max_size) / math.log(ratio)) + 2


@dataclass(frozen=True)
class PyramidShape:
    """The sizes of a photo at `scale_count` scales, coarse to fine.

    coarsest='long side': long sides grow from min_size to max_size in geometric steps, and a smaller photo is
    enlarged. The published sizes of 187x250 with min_size 25: 19x26, 27x37, 40x54, 60x80, 87x117, 128x171, 187x250.
    coarsest='short side': the finest is the photo, shrunk to a long side of max_size if it is larger, and the short
    side starts at min_size (SinGAN). steps='consingan': more of the scales are small (Hinz et al. 2021, section 3.2).
    """

    max_size: int = 250
    min_size: int = 25
    scale_count: int = 7
    coarsest: str = "long side"
    steps: str = "geometric"

    def __post_init__(self):
        if not MIN_SIDE <= self.min_size <= self.max_size:
            raise InputError(
                f"pyramid sizes must satisfy {MIN_SIDE} <= min_size <= max_size, "
                f"got min_size {self.min_size} and max_size {self.max_size}"
            )
        if self.scale_count < 1:
            raise InputError(f"a pyramid needs at least 1 scale, got scale_count {self.scale_count}")

    @property
    def factor(self) -> float:
        """Size of a scale over the next finer one: (min_size / max_size) ** (1 / (scale_count - 1))."""
        return (self.min_size / self.max_size) ** (1 / max(1, self.scale_count - 1))

    @property
    def long_sides(self) -> list[int]:
        """Long side of every scale, coarse to fine, where the long side of the coarsest is given."""
        return [math.ceil(self.max_size * self.factor**exponent) for exponent in self.exponents]

    @property
    def exponents(self) -> list[float]:
        """To what power of the factor every scale is smaller than the finest, coarse to fine."""
        last = self.scale_count - 1
        if self.steps == "geometric" or last < 2:
            return [last - scale for scale in range(self.scale_count)]
        slow = (last - 1) / math.log(last)
        return [*(slow * math.log(last - scale) + 1 for scale in range(last)), 0]

    def sizes(self, height: int, width: int, name: str = "the photo") -> list[tuple[int, int]]:
        """(height, width) of every scale for a photo of this size, coarse to fine.

        No side is shorter than 11 pixels, so a very long panorama is widened. InputError, naming the photo,
        if it is smaller than the coarsest scale.
        """
        if self.coarsest == "short side":
            return self._from_short_side(height, width, name)
        long_sides, short_side = self.long_sides, min(height, width)
        if max(height, width) < long_sides[0] or short_side < MIN_SIDE:
            raise InputError(
                f"{name} is too small: {width}x{height} pixels, "
                f"needs a long side of {long_sides[0]} and a short side of {MIN_SIDE}"
            )
        finest = math.ceil(self.max_size * short_side / max(height, width) - 0.5)
        sizes = []
        for long_side in long_sides:  # `finest` pixels stand for finest + 1/2 before rounding
            scaled = long_side * (2 * finest + 1) // (2 * self.max_size)
            short = min(long_side, max(MIN_SIDE, scaled))
            sizes.append((short, long_side) if height <= width else (long_side, short))
        return sizes

    def _from_short_side(self, height: int, width: int, name: str) -> list[tuple[int, int]]:
        if min(height, width) < MIN_SIDE:
            raise InputError(
                f"{name} is too small: {width}x{height} pixels, needs a short side of {self.min_size}, "
                f"and with any --min-size of {MIN_SIDE}"
            )
        shrink = min(1, self.max_size / max(height, width))
        finest = [max(MIN_SIDE, round(side * shrink)) for side in (height, width)]
        if min(finest) < self.min_size:
            raise InputError(
                f"{name} is too small: {width}x{height} pixels{f', {finest[1]}x{finest[0]} as trained' * (shrink < 1)}, "
                f"needs a short side of {self.min_size}; lower --min-size or raise --max-size"
            )
        factor = (self.min_size / min(finest)) ** (1 / max(1, self.scale_count - 1))
        return [
            tuple(max(MIN_SIDE, math.ceil(round(side * factor**exponent, 6))) for side in finest)
            for exponent in self.exponents
        ]


def build_pyramid(pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The photo (C, H, W) at each size, every level resized from the full-resolution photo itself."""
    return [resize(pixels, size) for size in sizes]

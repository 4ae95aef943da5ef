"""From the models of some photos to one another, the noise held still: a walk between two, a grid between four."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hyperconv.apps.chart import Canvas, curves
from hyperconv.apps.model import Model
from hyperconv.apps.sample import image_paths, write_images
from hyperconv.apps.sheet import contact_sheet, strip
from hyperconv.data import canvas
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing, replacing
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.metrics.patches import patch_swd
from hyperconv.nn.layout import WeightSet

Space = Literal["embedding", "weights"]
Photo = str | PathLike  # a photo of the run by name, or a file

CURVE = (35, 105, 180)


class Walk(NamedTuple):
    """The strip or grid of all frames, and the patch SWD between neighbours along every row of it."""

    picture: Path
    distances: list[list[float]]


def interpolate(
    model: Model,
    a: Photo,
    b: Photo,
    steps: int = 8,
    *,
    space: Space = "embedding",
    scales: range | None = None,
    seed: int | None = None,
) -> list[Tensor]:
    """`steps` frames (C, H, W) in [-1, 1] from photo a to photo b, each a name in the run or a file.

    space: 'embedding' blends the photos' contexts, and the hypernetwork makes a model for every point
    between; 'weights' blends the two generated weight sets. (The projection is linear, so the walks differ only
    where contexts are of unit norm: there the blended ones are brought back to it.) scales: those that walk, the
    others stay a's; the fine ones give a's layout b's texture. seed None holds the noise that reconstructs, so the walk
    goes from one photo to the other; a number holds a random noise instead. Noise amplitudes are blended with their
    scale, sizes with the coarsest: between a wide photo and an upright one the frames turn from wide to upright.
    """
    t = torch.linspace(0, 1, _checked(steps))
    return _frames(model, [a, b], torch.stack([1 - t, t], dim=1), space, scales, seed)


def interpolate_grid(
    model: Model,
    corners: Sequence[Photo],
    steps: int = 5,
    *,
    space: Space = "embedding",
    scales: range | None = None,
    seed: int | None = None,
) -> list[list[Tensor]]:
    """`steps` rows of `steps` frames between four photos: left and right above, left and right below.

    The rest is as for `interpolate`; scales that do not walk stay the first photo's.
    """
    if len(corners) != 4:
        raise ValueError(f"corners has {len(corners)} photos: a grid is between 4")
    t = torch.linspace(0, 1, _checked(steps))
    down, right = (axis.flatten() for axis in torch.meshgrid(t, t, indexing="ij"))
    shares = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    frames = _frames(model, corners, torch.stack(shares, dim=1), space, scales, seed)
    return [frames[row * steps : (row + 1) * steps] for row in range(steps)]


def smoothness(frames: Sequence[Tensor]) -> list[float]:
    """Patch SWD between each frame and the next: equal numbers are an even walk, a high one is a jump."""
    return [patch_swd([after], before) for before, after in pairwise(frames)]


def _refuse_single(model: Model) -> None:
    if model.config.alone:
        raise InputError(
            f"only a run of --system meta can be interpolated: the nets of this {model.config.system} model have nothing "
            "in common with those of other photos"
        )


def _checked(steps: int) -> int:
    if steps < 2:
        raise ValueError(f"steps is {steps}: a walk needs at least its 2 ends")
    return steps


@torch.no_grad()
def _frames(
    model: Model, photos: Sequence[Photo], shares: Tensor, space: Space, scales: range | None, seed: int | None
) -> list[Tensor]:
    _refuse_single(model)
    if space not in ("embedding", "weights"):
        raise ValueError(f"space is {space!r}: choose 'embedding' or 'weights'")
    scales = range(model.scales) if scales is None else scales
    if not scales or scales[0] < 0 or scales[-1] >= model.scales:
        raise InputError(
            f"scales {scales.start} to {scales.stop - 1} are not among the scales 0 to {model.scales - 1} of this run"
        )
    between = _blend(model, [model.find(photo) for photo in photos], shares.to(model.device), space, scales)
    if seed is None:
        frames = between.reconstruct()
    else:
        source = seeded(model.device, seed, "interpolate")

        def still(shape: tuple[int, ...], scale: int) -> Tensor:
            return white((1, *shape[1:]), source).expand(shape)

        frames = between.images(between.climb(between.begin(still(between.z_fixed().shape, 0)), still))
    return [frame.clamp(-1, 1) for frame in canvas.crop(frames, between.sizes[-1])]


def _blend(model: Model, photos: list[tuple[Model, int]], shares: Tensor, space: Space, scales: range) -> PhotoModel:
    """The models with these shares (T, photos) of every photo as one batch; at other scales the first photo's."""
    own = [holder.photo_model(index) for holder, index in photos]
    first = torch.zeros_like(shares).index_fill_(1, torch.zeros(1, dtype=torch.long, device=shares.device), 1)
    of_scale = [shares if scale in scales else first for scale in range(model.scales)]

    def mix(of: Callable[[PhotoModel], Tensor], by: Tensor) -> Tensor:
        return by @ torch.cat([of(each) for each in own]).to(by)

    sizes = [
        mix(lambda each, scale=scale: each.sizes[scale], of_scale[0].double()).round().long()
        for scale in range(model.scales)
    ]
    amplitudes = torch.stack(
        [mix(lambda each, scale=scale: each.amplitudes[:, scale], by) for scale, by in enumerate(of_scale)], dim=1
    )
    if space == "weights":
        weights = [
            WeightSet(own[0].weights[scale].layout, mix(lambda each, scale=scale: each.weights[scale].flat, by))
            for scale, by in enumerate(of_scale)
        ]
    else:
        contexts = torch.cat([holder.contexts(index) for holder, index in photos])
        generator = model.system.generator
        weights = [generator.weights(generator.normalise(by @ contexts), scale) for scale, by in enumerate(of_scale)]
    fixed = [None if each is None else each.expand(len(shares), -1, -1, -1) for each in own[0].fixed]
    return PhotoModel(own[0].generator, weights, amplitudes, sizes, fixed)


def write_interpolation(
    model: Model,
    photos: Sequence[Photo],
    folder: str | PathLike,
    steps: int = 8,
    *,
    space: Space = "embedding",
    scales: range | None = None,
    seed: int | None = None,
    force: bool = False,
) -> Walk:
    """`interpolate` between 2 photos, `interpolate_grid` between 4, into files.

    FOLDER/A-B_01.png ..., all of them as A-B.png, and the distances between neighbours as A-B_smoothness.png.
    InputError for another number of photos, or where one of these files is there already, unless `force`.
    """
    _refuse_single(model)
    if len(photos) not in (2, 4):
        raise InputError(f"a walk is between 2 photos and a grid between 4, and {len(photos)} given: name 2 or 4")
    folder = Path(folder)
    names = [holder.names[index] for holder, index in map(model.find, photos)]
    stem = "-".join(names)
    picture, chart = folder / f"{stem}.png", folder / f"{stem}_smoothness.png"
    refuse_existing([*image_paths(folder, stem, steps ** (len(photos) // 2)), picture, chart], force)
    settings = {"space": space, "scales": scales, "seed": seed}
    if len(photos) == 2:
        rows = [interpolate(model, *photos, steps, **settings)]
        strip(rows[0], [names[0], *(f"{i / (steps - 1):.2f}" for i in range(1, steps - 1)), names[1]], picture)
    else:
        rows = interpolate_grid(model, photos, steps, **settings)
        empty = [""] * (steps - 2)
        captions = [[names[0], *empty, names[1]], *[""] * (steps - 2), [names[2], *empty, names[3]]]
        contact_sheet(list(zip(captions, rows)), path=picture)
    write_images([frame for row in rows for frame in row], folder, stem)
    distances = [smoothness(row) for row in rows]
    _write_chart(distances, chart)
    return Walk(picture, distances)


def _write_chart(distances: list[list[float]], path: Path) -> None:
    chart = Canvas(420, 240)
    curves(chart, (20, 16, 380, 210), "patch SWD of neighbouring frames", "step", CURVE, distances)
    with replacing(path) as temporary:
        chart.picture().save(temporary, format="png")

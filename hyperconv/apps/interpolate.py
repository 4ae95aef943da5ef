"""A walk from the model of one photo to the model of another, the noise held still."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from hyperconv.apps.model import Model
from hyperconv.apps.sample import image_paths, write_images
from hyperconv.apps.sheet import strip
from hyperconv.data import canvas
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing
from hyperconv.gan.noise import generator as seeded
from hyperconv.gan.noise import white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.nn.layout import WeightSet


@torch.no_grad()
def interpolate(
    model: Model,
    a: str | PathLike,
    b: str | PathLike,
    steps: int = 8,
    *,
    space: Literal["embedding", "weights"] = "embedding",
    seed: int | None = None,
) -> list[Tensor]:
    """`steps` frames (C, H, W) in [-1, 1] from photo a to photo b, each a name in the run or a file.

    space: 'embedding' blends the photos' contexts, and the hypernetwork makes a model for every point
    between; 'weights' blends the two generated weight sets. (The projection is linear, so the walks differ only
    where contexts are of unit norm: there the blended ones are brought back to it.) seed None holds the noise that reconstructs, so the walk goes from
    one photo to the other; a number holds a random noise instead. Noise amplitudes and image sizes are
    blended too: between a wide photo and an upright one the frames turn from wide to upright.
    """
    if model.config.alone:
        raise InputError(
            f"only a run of --system meta can be interpolated: the nets of a {model.config.system} run "
            "have nothing in common"
        )
    if steps < 2:
        raise ValueError(f"steps is {steps}: a walk needs at least its 2 ends")
    if space not in ("embedding", "weights"):
        raise ValueError(f"space is {space!r}: choose 'embedding' or 'weights'")
    between = _blend(
        model, model.find(a), model.find(b), torch.linspace(0, 1, steps, device=model.device), space
    )
    if seed is None:
        frames = between.reconstruct()
    else:
        source = seeded(model.device, seed, "interpolate")

        def still(shape: tuple[int, ...], scale: int) -> Tensor:
            return white((1, *shape[1:]), source).expand(shape)

        frames = between.images(between.climb(between.begin(still(between.z_fixed().shape, 0)), still))
    return [frame.clamp(-1, 1) for frame in canvas.crop(frames, between.sizes[-1])]


def _blend(model: Model, a: tuple[Model, int], b: tuple[Model, int], t: Tensor, space: str) -> PhotoModel:
    """The models at the points t (T,) as one batch."""
    ends = [holder.photo_model(index) for holder, index in (a, b)]
    sizes = [
        torch.lerp(first.double(), last.double(), t[:, None].double()).round().long()
        for first, last in zip(ends[0].sizes, ends[1].sizes)
    ]
    amplitudes = torch.lerp(ends[0].amplitudes, ends[1].amplitudes, t[:, None])
    if space == "embedding":
        contexts = torch.lerp(*(holder.contexts(index) for holder, index in (a, b)), t[:, None])
        return model.system.photo_model(model.system.generator.normalise(contexts), sizes, amplitudes)
    weights = [WeightSet.lerp(first, last, t) for first, last in zip(ends[0].weights, ends[1].weights)]
    fixed = [None if each is None else each.expand(len(t), -1, -1, -1) for each in ends[0].fixed]
    return PhotoModel(ends[0].generator, weights, amplitudes, sizes, fixed)


def write_interpolation(
    model: Model,
    a: str,
    b: str,
    folder: str | PathLike,
    steps: int = 8,
    *,
    space: Literal["embedding", "weights"] = "embedding",
    seed: int | None = None,
    force: bool = False,
) -> Path:
    """`interpolate` into files: FOLDER/A-B_01.png ... and the strip FOLDER/A-B.png (returned).

    InputError where one of these files is there already, unless `force`.
    """
    names = [holder.names[index] for holder, index in (model.find(a), model.find(b))]
    stem = "-".join(names)
    refuse_existing([*image_paths(folder, stem, steps), Path(folder) / f"{stem}.png"], force)
    frames = interpolate(model, a, b, steps, space=space, seed=seed)
    write_images(frames, folder, stem)
    captions = [names[0], *(f"{i / (steps - 1):.2f}" for i in range(1, steps - 1)), names[1]]
    path = Path(folder) / f"{stem}.png"
    strip(frames, captions, path)
    return path

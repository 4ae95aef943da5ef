"""Paintings to photos, and the structure of one photo in the style of another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from hyperconv.apps.inject import Written, as_model_sees, as_picture, drawn_on, injected, start_scale_for, write_drawn
from hyperconv.apps.model import Model
from hyperconv.apps.sample import stretched
from hyperconv.data.images import Photo, resize
from hyperconv.data.palette import palette, quantised, recoloured
from hyperconv.data.pyramid import MIN_SIDE
from hyperconv.errors import InputError
from hyperconv.gan.noise import seeded
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.retrain import repaint
from hyperconv.progress import OnEach

COLOURS = 5  # of the published quantisation
PAINT_DEPTH, STYLE_DEPTH = 0.375, 0.5  # of the pyramid, where a picture enters
SAME_SHAPE = 1.05  # quotient of aspect ratios, at most


def paint(
    model: Model,
    name: str | int | PathLike,
    painting: Tensor,
    *,
    quantise: bool | None = None,
    retrain_steps: int = 0,
    start_scale: int | None = None,
    seed: int = 0,
    on_step: OnEach = None,
) -> Tensor:
    """A painting or clip art (C, h, w) as a photo like the one named: (C, H, W) in [-1, 1], in the painting's shape.

    quantise: the photo, at the scale where the painting enters, is brought to 5 colours (k-means), and the painting
    painted with them. None: where that scale is retrained, as published; else a colour that is none of the five, as a
    photo's small red roofs, would be lost for nothing. retrain_steps: training steps that teach this scale to make
    photos of images in these colours alone (SinGAN: 2,000), with on_step(taken, all) called after each; the painting
    then enters as such an image.
    start_scale: the first scale that draws; a coarser one keeps less of the painting. The result has as many pixels as
    the photo. InputError where the run cannot do it.
    """
    if retrain_steps < 0:
        raise InputError(f"retrain_steps is {retrain_steps}: it must be 0 or more")
    quantise = retrain_steps > 0 if quantise is None else quantise
    start_scale = start_scale_for(model, start_scale, PAINT_DEPTH)
    holder, index = model.find(name)
    painting, photo_model = as_model_sees(model, painting), holder.photo_model(index)
    if retrain_steps and not (quantise and photo_model.generator.carries_images):
        raise InputError(
            "only a scale that few colours enter can be trained on them: retraining needs quantised colours and a "
            f"system that carries images, and this run is of --system {model.config.system}"
        )
    if quantise:
        colours = palette(holder.photo(index, start_scale), COLOURS, seeded(model.device, seed, "palette"))
        painting = quantised(painting, colours)
    if not retrain_steps:
        return injected(_shaped_like(painting, photo_model), painting, start_scale, seed)
    painter = _repainted(holder, index, photo_model, start_scale, colours, retrain_steps, on_step)
    shaped = _shaped_like(painting, painter)
    at = shaped.grid(start_scale)
    small = quantised(resize(painting, at.extent), colours)
    return drawn_on(shaped, shaped.carry(small[None], at, start_scale - 1), seed)


def _repainted(
    model: Model, index: int, photo_model: PhotoModel, scale: int, colours: Tensor, steps: int, on_step: OnEach
) -> PhotoModel:
    """The model with one scale trained on pictures in these colours; its critic starts as the finest one's."""

    def few_colours(images: Tensor) -> Tensor:
        return torch.stack([quantised(image, colours) for image in images])

    critic, weights = model.critic(index, scale)
    photo = model.photo(index, scale)[None]
    stages = repaint(photo_model, scale, critic, weights, photo, few_colours, steps, model.config)
    for taken, painter in stages:
        if on_step is not None:
            on_step(taken, steps)
    return painter


def style(
    model: Model,
    name: str | int | PathLike,
    structure: Tensor,
    *,
    start_scale: int | None = None,
    seed: int = 0,
) -> Tensor:
    """The structure of another photo (C, h, w) in the style of the one named: (C, H, W) in [-1, 1], in its shape.

    As `paint`, but all its colours enter, moved to mean and covariance of those of the photo named.
    """
    start_scale = start_scale_for(model, start_scale, STYLE_DEPTH)
    holder, index = model.find(name)
    structure = recoloured(as_model_sees(model, structure), holder.photo(index))
    return paint(holder, index, structure, quantise=False, start_scale=start_scale, seed=seed)


def _shaped_like(picture: Tensor, photo_model: PhotoModel) -> PhotoModel:
    """The model asked for images of the picture's aspect ratio, with as many pixels as before."""
    height, width = photo_model.extent(photo_model.scales - 1)
    stretch = picture.shape[1] / picture.shape[2] * width / height
    if abs(math.log(stretch)) <= math.log(SAME_SHAPE):
        return photo_model
    sides = (height * math.sqrt(stretch), width / math.sqrt(stretch))
    return stretched(photo_model, tuple(max(MIN_SIDE, round(side)) for side in sides))


def write_painted(
    model: Model,
    name: str | PathLike | int,
    painting: Photo | str | PathLike,
    folder: str | PathLike,
    *,
    force: bool = False,
    **options,
) -> Written:
    """`paint` of a file: FOLDER/PHOTO-PAINTING.png, and a sheet beside it. options: those of `paint`.

    InputError for files that cannot be used, or are there already without `force`.
    """
    return _write(paint, model, name, painting, folder, ("photo", "painting", "painted"), force, options)


def write_styled(
    model: Model,
    name: str | PathLike | int,
    structure: Photo | str | PathLike,
    folder: str | PathLike,
    *,
    force: bool = False,
    **options,
) -> Written:
    """`style` of a file: FOLDER/PHOTO-STRUCTURE.png, and a sheet beside it; as `write_painted`."""
    return _write(style, model, name, structure, folder, ("style", "structure", "result"), force, options)


def _write(
    function: Callable[..., Tensor],
    model: Model,
    name: str | PathLike | int,
    given: Photo | str | PathLike,
    folder: str | PathLike,
    headings: Sequence[str],
    force: bool,
    options: dict[str, Any],
) -> Written:
    def draw(holder: Model, index: int, picture: Tensor) -> list[Tensor]:
        result = function(holder, index, picture, **options)
        return [holder.photo(index), resize(picture, tuple(result.shape[1:])), result]

    return write_drawn(model, name, as_picture(given), folder, headings, draw, [], force)

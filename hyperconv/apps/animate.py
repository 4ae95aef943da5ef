"""A photo that moves: a random walk in the space of noise, around the noise that reconstructs the photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from hyperconv.apps.model import Model
from hyperconv.apps.sample import check_start_scale
from hyperconv.apps.sheet import strip
from hyperconv.data.movie import check_format, save_movie
from hyperconv.errors import InputError
from hyperconv.files import refuse_existing
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.progress import OnEach

STRIP_FRAMES = 6
ALPHA = 0.1  # as published
ALPHA_OF_PHOTO = 0.5
"""Where the photo itself is what the coarsest scale reconstructs it from: that scale knows the photo and noise, and
between the two, where a freer walk leads, textures fade."""


def walk(noise: Callable[[int], Tensor], alpha: float, beta: float, period: int | None = None) -> Iterator[Tensor]:
    """Positions x_0, x_1, ... of a random walk around 0, for ever; SinGAN (Shaham et al. 2019), appendix.

    x_{t+1} = (1 - alpha) (x_t + beta (x_t - x_{t-1}) + (1 - beta) noise(t)). alpha draws it back to 0, beta keeps its
    direction. It starts at rest in 0. period: noise(t + period) = noise(t) is assumed, and the walk starts where it
    comes back to after that many steps, at the same speed: every step obeys the same rule, also the closing one.
    """
    now = before = torch.zeros_like(noise(0))
    if period is not None:
        after = _moved(now, before, noise, alpha, beta, period)
        now, before = _fixed_point(*after, alpha, beta, period)
    for step in count():
        yield now
        now, before = _move(now, before, noise(step if period is None else step % period), alpha, beta)


def _move(now: Tensor, before: Tensor, push: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    return (1 - alpha) * (now + beta * (now - before) + (1 - beta) * push), now


def _moved(
    now: Tensor, before: Tensor, noise: Callable[[int], Tensor], alpha: float, beta: float, steps: int
) -> tuple[Tensor, Tensor]:
    for step in range(steps):
        now, before = _move(now, before, noise(step), alpha, beta)
    return now, before


def _fixed_point(now: Tensor, before: Tensor, alpha: float, beta: float, period: int) -> tuple[Tensor, Tensor]:
    """The state s with s = M^period s + (now, before), where M is a step without noise."""
    step = torch.tensor([[(1 - alpha) * (1 + beta), -(1 - alpha) * beta], [1, 0]], dtype=torch.float64)
    inverse = torch.linalg.inv(torch.eye(2, dtype=torch.float64) - torch.linalg.matrix_power(step, period))
    (a, b), (c, d) = inverse.tolist()
    return a * now + b * before, c * now + d * before


def animate(
    model: Model,
    name: str | int | PathLike,
    frames: int = 100,
    *,
    alpha: float | None = None,
    beta: float = 0.9,
    start_scale: int | None = None,
    loop: bool = False,
    seed: int = 0,
    on_frame: OnEach = None,
) -> list[Tensor]:
    """`frames` images (C, H, W) in [-1, 1] of one photo, each a little different from the one before.

    alpha in 0..1: how strongly the walk is drawn back to the photo; None is 0.1, or 0.5 at the coarsest scale of a
    ConSinGAN that reconstructs the photo from itself. beta in 0..1: how smoothly it moves (0.8 to 0.95
    published). start_scale K: scales below K hold still; 0 moves everything, higher ones smaller things. None is 0,
    or 1 for a ConSinGAN whose coarsest scale has seen altered photos, not noise. loop: the last frame goes over into
    the first. on_frame(drawn, all) is called after each. InputError for what cannot be.
    """
    holder, index = model.find(name)
    photo_model = holder.photo_model(index)
    if start_scale is None:
        start_scale = model.first_drawn
    check_start_scale(photo_model, start_scale)
    if alpha is None:
        alpha = ALPHA_OF_PHOTO if start_scale == 0 and holder.config.fixed_input == "photo" else ALPHA
    for word, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < 1:
            raise InputError(f"{word} is {value:g}: it must be at least 0 and below 1")
    if loop and alpha == 0:
        raise InputError("alpha is 0: a walk that nothing draws back cannot be made to loop; take for example 0.1")
    if frames < 1:
        raise InputError(f"frames is {frames}: an animation needs at least 1")
    results = []
    for image in islice(_frames(photo_model, alpha, beta, start_scale, frames if loop else None, seed), frames):
        results.append(image)
        if on_frame is not None:
            on_frame(len(results), frames)
    return results


@torch.no_grad()
def _frames(
    photo_model: PhotoModel, alpha: float, beta: float, start_scale: int, period: int | None, seed: int
) -> Iterator[Tensor]:
    walks = {
        scale: walk(_pushes(photo_model, scale, seed), alpha, beta, period)
        for scale in range(start_scale, photo_model.scales)
    }
    kept = photo_model.climb_fixed(stop=start_scale) if start_scale else None

    def noise(shape: tuple[int, ...], scale: int) -> Tensor:
        fixed, position = photo_model.fixed_noise(shape, scale), next(walks[scale])
        return position if fixed is None else fixed + position

    while True:
        carried = kept if kept is not None else photo_model.begin(photo_model.z_fixed() + next(walks[0]))
        yield photo_model.images(photo_model.climb(carried, noise))[0].clamp(-1, 1)


def _pushes(photo_model: PhotoModel, scale: int, seed: int) -> Callable[[int], Tensor]:
    """What moves the noise of a scale at step t: white noise of its shape."""
    generator = photo_model.generator
    grid = photo_model.grid(scale)
    shape = (1, generator.first_noise_channels, *grid.extent)
    if scale:
        shape = (1, generator.noise_channels, *grid.grown(2 * generator.noise_margin).extent)
    return lambda step: white(shape, seeded(photo_model.device, seed, "animate", scale, step))


def write_animations(
    model: Model,
    names: Sequence[str | PathLike],
    folder: str | PathLike,
    frames: int = 100,
    *,
    kind: str = "gif",
    fps: float = 10,
    force: bool = False,
    on_frame: OnEach = None,
    **options,
) -> Iterator[tuple[Path, Path]]:
    """`animate` for each name: FOLDER/NAME.gif (.mp4, .webp) and some frames NAME_frames.png; yields both when written.

    options: those of `animate`. on_frame(drawn, all) counts the frames of all photos. InputError for a format that
    cannot be written here, or files that are there already without `force`.
    """
    check_format(kind)
    found = model.find_all(names)
    files = [(Path(folder) / f"{name}.{kind}", Path(folder) / f"{name}_frames.png") for _, _, name in found]
    refuse_existing(chain.from_iterable(files), force)
    drawn = count(1)

    def count_frame(*_: int) -> None:
        if on_frame is not None:
            on_frame(next(drawn), frames * len(found))

    for (holder, index, _), (movie, sheet) in zip(found, files):
        images = animate(holder, index, frames, on_frame=count_frame, **options)
        save_movie(images, movie, fps)
        shown = sorted({round(i * (frames - 1) / (STRIP_FRAMES - 1)) for i in range(STRIP_FRAMES)})
        captions = ["photo", *(f"{number / fps:.1f} s" for number in shown)]
        strip([holder.photo(index), *(images[number] for number in shown)], captions, sheet)
        yield movie, sheet

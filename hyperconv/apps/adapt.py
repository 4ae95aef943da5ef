"""The model of a photo the system never saw: one forward pass, and a few steps of tuning where wanted."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from hyperconv.apps.inject import as_picture
from hyperconv.apps.model import Model, Tuned
from hyperconv.apps.sample import draw, image_paths, reconstruct, remove_images, write_images
from hyperconv.apps.sheet import PHOTO_HEADINGS, contact_sheet, photo_rows
from hyperconv.data.images import Photo, save_png
from hyperconv.files import refuse_existing
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.progress import OnEach


def adapt(
    model: Model,
    photo: Photo | str | PathLike,
    tune_steps: int = 0,
    *,
    tuning: Tuned = "weights",
    on_step: OnEach = None,
) -> PhotoModel:
    """The generators of one unseen photo: photo -> context -> weights; amplitudes from its reconstruction.

    tune_steps: training steps on this photo, started from what the hypernetwork gives: per scale on its own weight
    sets, or with tuning='embedding' of all scales on what those are generated from. on_step(taken, all) is called after
    each of them. InputError for a file that is no photo or is too small.
    """
    return model.adapt(as_picture(photo), tune_steps, on_step, tuning)


def write_adaptation(
    model: Model,
    photo: Photo | str | PathLike,
    folder: str | PathLike,
    count: int = 6,
    *,
    tune_steps: int = 0,
    tuning: Tuned = "weights",
    export: str | PathLike | None = None,
    seed: int = 0,
    force: bool = False,
    on_step: OnEach = None,
) -> Path:
    """`adapt` into files: FOLDER/reconstruction.png, FOLDER/sample_01.png ... and a sheet (returned).

    export: also write the model, as a file that `Model.open` opens. InputError where one of these files is there
    already, unless `force`.
    """
    photo, folder = as_picture(photo), Path(folder)
    own = [folder / "reconstruction.png", folder / "sheet.png", *([export] if export else [])]
    refuse_existing([*own, *image_paths(folder, "sample", count)], force)
    seen = model.with_photos([photo])
    photo_model = seen.tuned(0, tune_steps, on_step, tuning)
    samples, reconstruction = draw(photo_model, count, seed=seed), reconstruct(photo_model)
    save_png(reconstruction, folder / "reconstruction.png")
    if force:
        remove_images(folder, "sample")
    write_images(samples, folder, "sample")
    contact_sheet(photo_rows(photo.name, seen.photo(0), reconstruction, samples), PHOTO_HEADINGS, folder / "sheet.png")
    if export is not None:
        Path(export).parent.mkdir(parents=True, exist_ok=True)
        seen.export(0, photo_model, export)
    return folder / "sheet.png"

"""How a run knows its photos: each reconstruction beside its photo, with the error."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from hyperconv.apps.model import Found, Model
from hyperconv.apps.sample import reconstruct
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.images import save_png, unique_names
from hyperconv.files import refuse_existing
from hyperconv.metrics.pixels import psnr, reconstruction_rmse

SHEET = "sheet"  # a photo of this name gets another


class Reconstruction(NamedTuple):
    """A photo's name, its reconstruction (C, H, W) in [-1, 1], its RMSE of values in [0, 1], its PSNR in dB."""

    name: str
    image: Tensor
    rmse: float
    psnr: float


def reconstructions(model: Model, names: Sequence[str | PathLike]) -> list[Reconstruction]:
    """The reconstruction of each named photo, and how far it is from the photo."""
    return [_reconstruction(found) for found in model.find_all(names)]


def _reconstruction(found: Found) -> Reconstruction:
    image, photo = reconstruct(found.model.photo_model(found.index)), found.model.photo(found.index)
    return Reconstruction(found.name, image, reconstruction_rmse(image, photo), psnr(image, photo))


def write_reconstructions(
    model: Model, names: Sequence[str | PathLike], folder: str | PathLike, *, force: bool = False
) -> tuple[Path, list[Reconstruction]]:
    """`reconstructions` into files: FOLDER/NAME.png for each, and a sheet with RMSE and PSNR (returned).

    InputError where one of these files is there already, unless `force`.
    """
    folder, found = Path(folder), model.find_all(names)
    stems = unique_names([SHEET, *(each.name for each in found)])[1:]
    found = [each._replace(name=stem) for each, stem in zip(found, stems)]
    files = [folder / f"{each.name}.png" for each in found]
    refuse_existing([*files, folder / f"{SHEET}.png"], force)
    results = [_reconstruction(each) for each in found]
    for path, result in zip(files, results):
        save_png(result.image, path)
    rows = [
        ((result.name, f"{result.psnr:.1f} dB  {result.rmse:.3f}"), [each.model.photo(each.index), result.image])
        for each, result in zip(found, results)
    ]
    contact_sheet(rows, ("photo", "reconstruction"), folder / f"{SHEET}.png")
    return folder / f"{SHEET}.png", results

"""How a run knows its photos: each reconstruction beside its photo, with the error."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from hyperconv.apps.model import Model
from hyperconv.apps.sample import reconstruct
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.images import save_png
from hyperconv.files import refuse_existing
from hyperconv.metrics.pixels import psnr, reconstruction_rmse


class Reconstruction(NamedTuple):
    """A photo's name, its reconstruction (C, H, W) in [-1, 1], its RMSE of values in [0, 1], its PSNR in dB."""

    name: str
    image: Tensor
    rmse: float
    psnr: float


def reconstructions(model: Model, names: Sequence[str | PathLike]) -> list[Reconstruction]:
    """The reconstruction of each named photo, and how far it is from the photo."""
    return [_reconstruction(*model.find(name)) for name in names]


def _reconstruction(holder: Model, index: int) -> Reconstruction:
    image, photo = reconstruct(holder.photo_model(index)), holder.photo(index)
    return Reconstruction(holder.names[index], image, reconstruction_rmse(image, photo), psnr(image, photo))


def write_reconstructions(
    model: Model, names: Sequence[str | PathLike], folder: str | PathLike, *, force: bool = False
) -> tuple[Path, list[Reconstruction]]:
    """`reconstructions` into files: FOLDER/NAME.png for each, and a sheet with RMSE and PSNR (returned).

    InputError where one of these files is there already, unless `force`.
    """
    folder, found = Path(folder), [model.find(name) for name in names]
    files = [folder / f"{holder.names[index]}.png" for holder, index in found]
    refuse_existing([*files, folder / "sheet.png"], force)
    results = [_reconstruction(*each) for each in found]
    for path, result in zip(files, results):
        save_png(result.image, path)
    rows = [
        ((result.name, f"{result.psnr:.1f} dB  {result.rmse:.3f}"), [holder.photo(index), result.image])
        for (holder, index), result in zip(found, results)
    ]
    contact_sheet(rows, ("photo", "reconstruction"), folder / "sheet.png")
    return folder / "sheet.png", results

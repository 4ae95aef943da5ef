"""One picture of every application of single-image GANs, on bundled photos.

    OMP_NUM_THREADS=1 python -m benchmarks.gallery [--only sample retarget ...] [--runs build/gallery]
                                                   [--out benchmarks/results/gallery]

Trains the small runs that the pictures need in RUNS, or goes on where they stopped: a ConSinGAN, one that harmonises,
one that edits, and a SinGAN. Writes OUT/sample.jpg, OUT/retarget.jpg, ..., each from the first seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from hyperconv import apps
from hyperconv.apps.train import follow, resume, start
from hyperconv.data.examples import load_examples
from hyperconv.data.images import resize, to_uint8
from hyperconv.gan.presets import Config, preset

HALF = {"max_size": 128, "iterations": (1000,)}  # of the published size; as many steps as are published, or half
QUICKER = {**HALF, "iterations": (500,)}
RUNS: dict[str, tuple[Config, list[str]]] = {
    "consingan": (preset("paper", "consingan", min_size=20, **HALF), ["ihc"]),
    "harmonize": (preset("paper-harmonize", "consingan", min_size=60, **HALF), ["rocket"]),
    "edit": (preset("paper-edit", "consingan", min_size=20, **QUICKER), ["ihc"]),
    "singan": (preset("paper-superres", "singan", scale_count=8, hidden=16, **QUICKER), ["china"]),
}
FINE_TUNE = {"harmonize": 20, "edit": 100}  # steps on a composite
QUALITY = 85  # of the JPEGs

Row = list[tuple[str, Tensor]]  # captions and images


def trained(folder: Path, config: Config, names: list[str]) -> apps.Model:
    """The run in a folder, trained to its end."""
    trainer = resume(folder) if (folder / "config.json").is_file() else start(load_examples(names), folder, config)[0]
    for progress in follow(trainer):
        if progress.saved:
            where = f"scale {progress.scale + 1} of {config.scale_count}, step {progress.step}"
            print(f"{folder.name}: {where}", flush=True)
    return apps.Model.open(folder)


def sample(model: apps.Model) -> Row:
    return [("photo", model.photo("ihc")), *(("sample", image) for image in apps.sample(model, "ihc", 4))]


def animate(model: apps.Model) -> Row:
    frames = apps.animate(model, "ihc", 10)[::3]
    return [("photo", model.photo("ihc")), *((f"frame {3 * i}", frame) for i, frame in enumerate(frames))]


def retarget(model: apps.Model) -> Row:
    photo = model.photo("ihc")
    height, width = photo.shape[1:]
    row = [("photo", photo)]
    for size in ((height, 2 * width), (2 * height, width)):
        row += [("resized", resize(photo, size)), ("retargeted", apps.retarget(model, "ihc", size)[0])]
    return row


def style(model: apps.Model) -> Row:
    (coffee,) = load_examples(["coffee"])
    result = apps.style(model, "china", coffee.pixels)
    return [("style", model.photo("china")), ("structure", resize(coffee.pixels, result.shape[1:])), ("result", result)]


def superres(model: apps.Model) -> Row:
    photo, result = model.photo("china"), apps.superres(model, "china", 4)
    return [("photo", photo), ("bicubic", resize(photo, result.shape[1:])), ("4 times the size", result)]


def paint(model: apps.Model) -> Row:
    painting = temple()
    result = apps.paint(model, "china", painting)
    return [("photo", model.photo("china")), ("painting", resize(painting, result.shape[1:])), ("painted", result)]


def harmonize(model: apps.Model) -> Row:
    return blended(model, apps.harmonize, *temple_at_night())


def edit(model: apps.Model) -> Row:
    return blended(model, apps.edit, *another_gland())


def blended(model: apps.Model, function: Callable, picture: Tensor, mask: Tensor) -> Row:
    plain, tuned = (
        function(model, 0, picture, mask, fine_tune_steps=steps) for steps in (0, FINE_TUNE[function.__name__])
    )
    return [
        ("photo", plain.photo),
        ("by hand", plain.picture),
        ("mask", 2 * plain.mask.expand(3, -1, -1) - 1),
        ("result", plain.result),
        ("fine-tuned", tuned.result),
    ]


ROWS = {
    sample: "consingan",
    retarget: "consingan",
    animate: "consingan",
    style: "singan",
    superres: "singan",
    paint: "singan",
    harmonize: "harmonize",
    edit: "edit",
}  # and the run each is drawn from


def temple() -> Tensor:
    """Clip art: a red tower of three storeys on a green shore, under a light sky."""
    picture = Image.new("RGB", (240, 160), (205, 220, 235))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 100, 240, 160), fill=(150, 165, 170))
    draw.ellipse((-40, 105, 120, 190), fill=(60, 75, 45))
    draw.ellipse((90, 120, 280, 200), fill=(75, 90, 55))
    for top, half in ((25, 24), (60, 32), (95, 40)):
        draw.rectangle((160 - half + 8, top, 160 + half - 8, top + 35), fill=(125, 60, 50))
        draw.polygon([(160 - half, top + 8), (160, top - 12), (160 + half, top + 8)], fill=(70, 60, 50))
    return as_tensor(picture)


TEMPLE = (
    (0.32, 0.06),
    (0.345, 0.13),
    (0.40, 0.21),
    (0.50, 0.27),
    (0.46, 0.31),
    (0.455, 0.38),
    (0.515, 0.42),
    (0.49, 0.45),
    (0.49, 0.56),
    (0.555, 0.60),
    (0.54, 0.64),
    (0.54, 0.74),
    (0.58, 0.78),
    (0.50, 0.86),
    (0.12, 0.78),
    (0.13, 0.67),
    (0.10, 0.63),
    (0.165, 0.55),
    (0.165, 0.45),
    (0.13, 0.41),
    (0.18, 0.38),
    (0.185, 0.31),
    (0.15, 0.26),
    (0.24, 0.21),
    (0.30, 0.13),
)  # its outline in the photo of it, across and down


def temple_at_night() -> tuple[Tensor, Tensor]:
    """The rocket's evening with the temple by day before it, and the mask (H, W) of the temple."""
    rocket, china = load_examples(["rocket", "china"])
    picture, (height, width) = rocket.pixels.clone(), rocket.pixels.shape[1:]
    day = resize(china.pixels, (round(0.78 * height), round(0.78 * width)))
    outline = Image.new("L", (day.shape[2], day.shape[1]))
    ImageDraw.Draw(outline).polygon([(x * outline.width, y * outline.height) for x, y in TEMPLE], fill=255)
    cut, mask = torch.from_numpy(np.asarray(outline).copy()) > 0, torch.zeros(height, width)
    mask[-len(cut) :, : cut.shape[1]] = cut.float()
    picture[:, -len(cut) :, : cut.shape[1]][:, cut] = day[:, cut]
    return picture, mask


def another_gland() -> tuple[Tensor, Tensor]:
    """The stained tissue with its small gland copied to the left, and the mask (H, W) of the copy."""
    (tissue,) = load_examples(["ihc"])
    picture, side = tissue.pixels.clone(), tissue.pixels.shape[1]
    top, bottom, left, columns, shift = (int(part * side) for part in (0.58, 0.92, 0.47, 0.26, 0.28))
    picture[:, top:bottom, left - shift : left - shift + columns] = tissue.pixels[:, top:bottom, left : left + columns]
    mask = torch.zeros(side, side)
    mask[top:bottom, left - shift : left - shift + columns] = 1
    return picture, mask


def as_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 127.5 - 1


def save_jpeg(image: Tensor, path: Path) -> None:
    Image.fromarray(to_uint8(image).permute(1, 2, 0).numpy()).save(path, quality=QUALITY, optimize=True)


def main() -> None:
    rows = {row.__name__: row for row in ROWS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=rows, default=list(rows), help="which pictures (default: all)")
    parser.add_argument("--runs", type=Path, default=Path("build/gallery"), help="where the runs are, or will be")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gallery"), help="folder of the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        row, run = rows[name], ROWS[rows[name]]
        captions, images = zip(*row(trained(options.runs / run, *RUNS[run])))
        path = options.out / f"{name}.jpg"
        save_jpeg(apps.strip(images, captions), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()

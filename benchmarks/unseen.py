"""How well one forward pass models photos that a trained system never saw.

    python -m benchmarks.unseen demo/run [PHOTO_OR_FOLDER ...] [--examples NAME ...] [--out FILE.json]
                                         [--sheet FILE.png] [--tune 20]

For each scale: RMSE in [-1, 1] of the reconstruction of the photos it trained on, of photos it never saw (the two
examples that the demo holds out, or others, and those named), and of guessing every unseen photo to be of its mean
colour. The sheet shows every unseen photo, and the reconstruction and samples of its model from one forward pass and
after some steps of tuning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from hyperconv.apps.model import Model
from hyperconv.apps.sample import draw, reconstruct
from hyperconv.apps.sheet import contact_sheet
from hyperconv.data.examples import HELD_OUT, example_names, load_examples
from hyperconv.data.images import read_photos

SAMPLES = 3  # of each model on the sheet


def rmse(image: torch.Tensor, photo: torch.Tensor) -> float:
    return (image - photo).square().mean().sqrt().item()


@torch.no_grad()
def errors(model: Model, name: str) -> list[tuple[float, float]]:
    """(RMSE of the reconstruction, RMSE of the mean colour) of one photo of the model, at every scale."""
    photo_model = model.photo_model(name)
    found = []
    for scale in range(model.scales):
        photo = model.photo(name, scale)
        height, width = photo.shape[-2:]
        reconstruction = photo_model.reconstruct(stop=scale + 1)[0, :, :height, :width]
        mean_colour = photo.mean((1, 2), keepdim=True).expand_as(photo)
        found.append((rmse(reconstruction, photo), rmse(mean_colour, photo)))
    return found


def average(model: Model) -> torch.Tensor:
    """(scales, 2): the errors, mean over the model's photos."""
    return torch.tensor([errors(model, name) for name in model.names]).mean(0)


def write_sheet(model: Model, steps: int, path: Path) -> None:
    """A row for every photo: itself, then by its model from one pass and after tuning: reconstruction, samples."""
    rows = []
    for name in model.names:
        row = [model.photo(name)]
        for photo_model in (model.photo_model(name), model.tuned(name, steps)):
            row += [None, reconstruct(photo_model), *draw(photo_model, SAMPLES)]
        rows.append((name, row))
    samples = ["its samples", *[""] * SAMPLES]
    contact_sheet(rows, ["photo", "", "one forward pass", *samples, f"{steps} steps per scale", *samples], path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a trained run: that of `make demo`, for one")
    parser.add_argument("photos", nargs="*", help="more photos it never saw")
    parser.add_argument(
        "--examples",
        nargs="*",
        default=HELD_OUT,
        choices=example_names(),
        metavar="NAME",
        help=f"bundled photos it never saw (default: {' '.join(HELD_OUT)}), of {', '.join(example_names())}",
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--sheet", type=Path, help="draw them")
    parser.add_argument("--tune", type=int, default=20, help="steps of tuning per scale, on the sheet (default: 20)")
    options = parser.parse_args()
    model = Model.open(options.run)
    unseen = load_examples(options.examples) + (read_photos(options.photos)[0] if options.photos else [])
    of_unseen = model.with_photos(unseen)
    seen, never = average(model), average(of_unseen)
    print(f"{len(model.names)} photos it trained on, {len(unseen)} it never saw")
    print("scale   trained on   never saw   mean colour")
    for scale in range(model.scales):
        print(f"{scale:>5} {seen[scale, 0]:>12.3f} {never[scale, 0]:>11.3f} {never[scale, 1]:>13.3f}")
    if options.out:
        columns = {"trained_on": seen[:, 0], "never_saw": never[:, 0], "mean_colour": never[:, 1]}
        figures = {name: [round(value, 4) for value in column.tolist()] for name, column in columns.items()}
        options.out.write_text(json.dumps({"trained": len(model.names), "unseen": len(unseen), **figures}, indent=2))
    if options.sheet:
        write_sheet(of_unseen, options.tune, options.sheet)


if __name__ == "__main__":
    main()

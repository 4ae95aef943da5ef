"""How well one forward pass models photos that a trained system never saw.

    python -m benchmarks.unseen demo/run [PHOTO_OR_FOLDER ...] [--out FILE.json]

For each scale: RMSE in [-1, 1] of the reconstruction of the photos it trained on, of photos it never saw (the two
examples that the demo holds out, and those named), and of guessing every unseen photo to be of its mean colour.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from hyperconv.apps.model import Model
from hyperconv.data.examples import HELD_OUT, load_examples
from hyperconv.data.images import read_photos


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a trained run: that of `make demo`, for one")
    parser.add_argument("photos", nargs="*", help="more photos it never saw")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    model = Model.open(options.run)
    unseen = load_examples(HELD_OUT) + (read_photos(options.photos)[0] if options.photos else [])
    seen, never = average(model), average(model.with_photos(unseen))
    print(f"{len(model.names)} photos it trained on, {len(unseen)} it never saw")
    print("scale   trained on   never saw   mean colour")
    for scale in range(model.scales):
        print(f"{scale:>5} {seen[scale, 0]:>12.3f} {never[scale, 0]:>11.3f} {never[scale, 1]:>13.3f}")
    if options.out:
        columns = {"trained_on": seen[:, 0], "never_saw": never[:, 0], "mean_colour": never[:, 1]}
        figures = {name: [round(value, 4) for value in column.tolist()] for name, column in columns.items()}
        options.out.write_text(json.dumps({"trained": len(model.names), "unseen": len(unseen), **figures}, indent=2))


if __name__ == "__main__":
    main()

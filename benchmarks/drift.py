"""How far finished scales drift while later ones train: the published embedding training against the default.

    python -m benchmarks.drift [--preset tiny] [--photos FOLDER] [--out FILE.json]

For each scale: RMSE of the reconstruction when the scale was finished, RMSE of the same scale at the end of the run,
and the RMSE between the two reconstructions; then the finest scale's reconstruction and the patch distance of samples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from hyperconv.data import canvas
from hyperconv.data.collection import Collection
from hyperconv.data.examples import HELD_OUT, example_names, load_examples
from hyperconv.data.images import read_photos
from hyperconv.gan.noise import seeded
from hyperconv.gan.presets import PRESETS, preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from hyperconv.metrics.patches import patch_swd

SAMPLES = 4  # of each photo, for the patch distance


def rmse(error: torch.Tensor, sizes: torch.Tensor) -> float:
    return canvas.mean(error.square(), sizes).sqrt().mean().item()


@torch.no_grad()
def measure(config, photos) -> dict:
    """Train once; errors of every scale when finished and at the end."""
    collection = Collection(photos, config.pyramid())
    everyone = torch.arange(len(collection))
    finished = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Run.create(Path(folder) / "run", config, collection), collection)
        with torch.enable_grad():
            for progress in trainer.train():
                if progress.step == config.iterations_at(progress.scale):
                    with torch.no_grad():
                        finished.append(trainer.photo_model(everyone).reconstruct(stop=progress.scale + 1))
        model = trainer.photo_model(everyone)
    rows = []
    for scale, then in enumerate(finished):
        now, sizes = model.reconstruct(stop=scale + 1), model.sizes[scale]
        photos_here = collection.batch(everyone, scale).images
        rows.append(
            {
                "scale": scale,
                "finished": rmse(then - photos_here, sizes),
                "end": rmse(now - photos_here, sizes),
                "moved": rmse(now - then, sizes),
            }
        )
    samples = model.sample(SAMPLES, seeded("cpu", 0, "drift"))
    samples = canvas.crop(samples, model.grid(model.scales - 1, len(samples)).sizes)
    real = canvas.crop(collection.batch(everyone, model.scales - 1).images, model.sizes[-1])
    distances = [patch_swd(samples[SAMPLES * i : SAMPLES * (i + 1)], photo) for i, photo in enumerate(real)]
    return {"scales": rows, "patch_swd": sum(distances) / len(distances)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=list(PRESETS["meta"]))
    parser.add_argument("--photos", help="a folder of photos (default: the bundled examples)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    photos = (
        read_photos([options.photos])[0]
        if options.photos
        else load_examples([name for name in example_names() if name not in HELD_OUT])
    )
    results = {}
    for choice in ("first scale", "every scale"):
        results[choice] = measure(replace(preset(options.preset), embedding_trains=choice), photos)
        print(f"\nthe embedding trains at {choice}: patch SWD of samples {results[choice]['patch_swd']:.4f}")
        print("scale   RMSE when finished   RMSE at the end   moved by")
        for row in results[choice]["scales"]:
            print(f"{row['scale']:>5} {row['finished']:>20.4f} {row['end']:>17.4f} {row['moved']:>10.4f}")
    if options.out:
        options.out.write_text(json.dumps({"preset": options.preset, "photos": len(photos), **results}, indent=2))


if __name__ == "__main__":
    main()

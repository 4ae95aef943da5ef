"""What bfloat16 in the generated nets does to a training: losses and patch distance beside exact float32.

    python -m benchmarks.precision [--device cpu|cuda] [--preset tiny] [--iterations 150] [--seeds 0 1 2] [--out FILE]

On the bundled photos; a seed fixes everything but the rounding, and how far the seeds of one precision lie apart says
what a difference between two precisions means.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev

import torch

from benchmarks.environment import describe
from benchmarks.report import table
from hyperconv.data import canvas
from hyperconv.data.collection import Collection
from hyperconv.data.examples import load_examples
from hyperconv.gan.noise import seeded
from hyperconv.gan.precision import PRECISIONS, arithmetic
from hyperconv.gan.presets import PRESETS, preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from hyperconv.metrics.patches import patch_swd


def measure(config, photos, device: str) -> dict:
    """Train once: losses every ten steps, and the finest scale's reconstruction and patch distance of samples."""
    collection = Collection(photos, config.pyramid())
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Run.create(Path(folder) / "run", config, collection), collection, device)
        curve = [{"scale": p.scale, "step": p.step, **p.losses} for p in trainer.train() if p.losses]
    everyone, sizes = torch.arange(len(collection)), collection.sizes[-1]
    images = trainer.canvas(everyone, trainer.scale)
    with torch.no_grad(), arithmetic("fp32"):
        model = trainer.photo_model(everyone)
        error = canvas.mean((model.reconstruct() - images).square(), sizes).sqrt().mean().item()
        drawn = model.sample(1, seeded(trainer.device, config.seed, "precision")).cpu()
    pairs = zip(canvas.crop(drawn, sizes), canvas.crop(images.cpu(), sizes), strict=True)
    return {
        "seed": config.seed,
        "precision": config.precision,
        "reconstruction": error,
        "patch_swd": mean(patch_swd(sample, photo) for sample, photo in pairs),
        "curve": curve,
    }


def summary(runs: list[dict]) -> list[str]:
    lines = []
    for precision in dict.fromkeys(run["precision"] for run in runs):
        own, cells = [run for run in runs if run["precision"] == precision], []
        for name in ("reconstruction", "patch_swd"):
            values = [run[name] for run in own]
            cells.append(f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else ""))
        lines.append([precision, str(len(own)), *cells])
    return table(["precision", "seeds", "reconstruction, RMSE", "samples, patch distance"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--preset", default="tiny", choices=PRESETS["meta"])
    parser.add_argument("--iterations", type=int, default=150, help="of every scale")
    parser.add_argument("--max-size", type=int, help="long side, pixels; the preset's by default")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result, photos = {"environment": describe(options.device), "runs": []}, load_examples()
    for seed in options.seeds:
        for precision in options.precision:
            config = preset(
                options.preset,
                iterations=(options.iterations,),
                max_size=options.max_size,
                seed=seed,
                precision=precision,
            )
            result["runs"].append(measure(config, photos, options.device))
            if options.out:
                options.out.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(summary(result["runs"])))


if __name__ == "__main__":
    main()

"""Single-image GANs of the first photos of LSUN-50, beside the scores of the samples that were published.

    OMP_NUM_THREADS=1 python -m benchmarks.published PHOTOS [--system consingan] [--preset tiny] [--iterations 300]
                                                     [--max-size 64] [--photos 15] [--device cpu] [--precision fp32]
                                                     [--minutes 6] [--runs build/published] [--out FOLDER]

PHOTOS: the folder of the photos. Trains a GAN of each of the first 15 in the order of their file names, side by side, or
goes on where that stopped, for so many minutes; scores 10 samples of each; writes OUT/published.json and published.md.

The published samples were scored as those here are, but at their own size, up to 250 px. For what a score means at
another size there is a third line: every photo softened, shrunk to half its size and enlarged again.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import fmean

from benchmarks.environment import describe
from benchmarks.report import publish, table
from benchmarks.training import Deadline, seconds_of, train
from hyperconv import apps
from hyperconv.apps.evaluate import score
from hyperconv.data.images import find_photos, resize
from hyperconv.gan.precision import PRECISIONS
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run

SCORES = {"patch_swd": "patch SWD (lower)", "coherence": "coherence (lower)", "diversity": "diversity (higher)"}
PUBLISHED = {
    ("LSUN-50", "SinGAN"): {"patch_swd": 0.0369, "coherence": 0.00281, "diversity": 0.529},
    ("LSUN-50", "ConSinGAN"): {"patch_swd": 0.0122, "coherence": 0.00300, "diversity": 0.369},
    ("Places-50", "SinGAN"): {"patch_swd": 0.0204, "coherence": 0.00324},
    ("Places-50", "ConSinGAN"): {"patch_swd": 0.0085, "coherence": 0.00358},
    ("Places-50", "GPNN (copies patches)"): {"patch_swd": 0.0179, "coherence": 0.00083},
}
"""Of published samples of the first 15 photos of a set, by their file names, at 250 px: scored by `hyperconv evaluate`'s
metrics."""
COUNT = 10


def trained(options: argparse.Namespace) -> tuple[apps.Model, str]:
    """The run, trained to its end or until the time is up, and how far that is."""
    files = sorted(find_photos(options.folder), key=lambda path: path.name)[: options.photos]
    config = preset(
        options.preset,
        options.system,
        max_size=options.max_size,
        precision=options.precision,
        iterations=options.iterations and (options.iterations,),
    )
    train(options.runs, files, config, Deadline(options.minutes), device=options.device)
    run = Run.open(options.runs)
    scale, step = run.checkpoint()
    where = f"step {step} of {run.config.iterations_at(scale)} of scale {scale + 1} of {run.config.scale_count}"
    return apps.Model.open(options.runs, options.device), where


def softened(model: apps.Model) -> dict[str, float]:
    """Mean scores of the photos at half their resolution."""
    scores = []
    for name in model.names:
        photo = model.photo(name)
        half = tuple(math.ceil(side / 2) for side in photo.shape[1:])
        scores.append(score([resize(resize(photo, half), tuple(photo.shape[1:]))], photo))
    return {key: fmean(of_one[key] for of_one in scores) for key in ("patch_swd", "coherence")}


def cells(scores: dict[str, float]) -> list[str]:
    return [f"{scores[key]:.4f}" if key in scores else "-" for key in SCORES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PHOTOS")
    parser.add_argument("--system", choices=["consingan", "singan"], default="consingan")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--iterations", type=int, help="of each scale, in place of the preset's")
    parser.add_argument("--max-size", type=int, default=64)
    parser.add_argument("--photos", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the training")
    parser.add_argument("--minutes", type=float, default=math.inf, help="until it stops at a checkpoint")
    parser.add_argument("--runs", type=Path, default=Path("build/published"), help="folder of the run")
    parser.add_argument("--out", type=Path, help="folder of the results")
    options = parser.parse_args()
    model, where = trained(options)
    evaluation = apps.evaluate(model, count=COUNT, each_scale=False)
    config, ours = model.config, evaluation.overall()
    steps = "/".join(map(str, config.iterations))
    own = f"hyperconv's {options.system}, {config.max_size} px, {steps} steps a scale"
    published = {
        f"{method}, as published, 250 px": scores
        for (photos, method), scores in PUBLISHED.items()
        if photos == "LSUN-50"
    }
    lines = {**published, own: ours, f"photos softened to half their resolution, {config.max_size} px": softened(model)}
    settings = f"--system {options.system} --preset {options.preset} --precision {config.precision}"
    facts = {
        "photos": len(model.names),
        "settings": settings,
        "trained": where,
        "seconds of training": f"{seconds_of(options.runs):.0f}",
        "reconstruction RMSE of ours": f"{ours['reconstruction_rmse']:.4f}",
        **describe(model.device.type),
    }
    rows = [[name, *cells(scores)] for name, scores in lines.items()]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        kept = {
            "facts": facts,
            "config": config.to_json(),
            "scores": lines,
            "photos": {photo.name: photo.samples for photo in evaluation.photos},
        }
        (options.out / "published.json").write_text(json.dumps(kept, indent=1) + "\n")
    publish(
        "Single-image GANs beside the published samples",
        facts,
        table(["samples of", *SCORES.values()], rows),
        options.out and options.out / "published.md",
    )


if __name__ == "__main__":
    main()

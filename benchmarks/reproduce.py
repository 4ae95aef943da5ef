"""The experiments of Meta Internal Learning by name, in pieces of some minutes, and one report of all of them.

    python -m benchmarks.reproduce lsun-50 --photos FOLDER --out REPORT [--device cuda]
    python -m benchmarks.reproduce unseen-photo --photos FOLDER --out REPORT
    python -m benchmarks.reproduce interpolation --photos FOLDER --out REPORT

lsun-50, places-50, v500, v2500, v5000 train REPORT/run with the published settings on four fifths of the photos, hold
every fifth out, and score both. unseen-photo tunes models of held-out photos, interpolation walks between photos: both
need that run. What takes longer than --minutes stops at a checkpoint, with exit code 3: the same command goes on.
--budget 0.01 takes a hundredth of the published steps, --preset other settings. REPORT/report.md holds every table and
figure so far.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from benchmarks import adapt_curve
from benchmarks.report import table
from benchmarks.training import Deadline, machine, scaled, split, unfinished
from benchmarks.training import train as train_on
from hyperconv.apps.interpolate import write_interpolation
from hyperconv.apps.model import Model
from hyperconv.apps.sample import write_samples
from hyperconv.apps.scorecard import TITLES, write_evaluation
from hyperconv.data.images import Photo, find_photos, read_photo
from hyperconv.gan.presets import preset

TRAININGS = {
    "lsun-50": ("paper", 5000),
    "places-50": ("paper-places", 4000),
    "v500": ("paper", 25_000),
    "v2500": ("paper", 100_000),
    "v5000": ("paper", 150_000),
}  # preset, steps of a scale as published
SHOWN, CURVE_PHOTOS = 6, 3  # photos on sheets; whose curves are averaged
FIGURES = (  # title; of every pattern the file of the shortest name, which is the picture of the whole
    ("Photos it trained on", "training/samples/sheet.png", "training/charts.png"),
    ("Photos it never saw", "held_out/samples/sheet.png", "held_out/charts.png"),
    ("From one photo's model to another's", "walk/*.png", "walk/*_smoothness.png"),
    ("The finer half of the scales alone", "texture/*.png", "texture/*_smoothness.png"),
    ("Between four photos", "grid/*.png", "grid/*_smoothness.png"),
)


def train(options: argparse.Namespace, photos: list) -> bool:
    """Train for some minutes; whether that was to the end."""
    name, steps = TRAININGS[options.experiment]
    published = replace(preset(name), iterations=(steps,))
    config = scaled(preset(options.preset) if options.preset else published, options.budget)
    return train_on(
        options.out / "run",
        photos,
        config,
        Deadline(options.minutes),
        device=options.device,
        checkpoint_every=options.checkpoint_every,
    )


def score(options: argparse.Namespace, model: Model, held_out: Model) -> None:
    for name, of in (("training", model), ("held_out", held_out)):
        folder = options.out / name
        if not (folder / "evaluation.json").is_file():
            write_samples(of, of.names[:SHOWN], folder / "samples", 4, force=True)
            write_evaluation(of, folder, count=options.count, each_scale=False, force=True)


def tune(options: argparse.Namespace, model: Model, photos: list[Photo]) -> None:
    steps = [max(1, round(options.budget * each)) for each in (50, 200, 1000)]
    adapt_curve.measure(model, photos[:CURVE_PHOTOS], steps, steps[1:], options.out / "unseen")


def walk(options: argparse.Namespace, model: Model) -> None:
    names = model.names
    write_interpolation(model, names[:2], options.out / "walk", 8, force=True)
    write_interpolation(
        model, names[:2], options.out / "texture", 8, scales=range(model.scales // 2, model.scales), force=True
    )
    write_interpolation(model, names[:4], options.out / "grid", 5, force=True)


def report(out: Path, about: dict) -> None:
    """REPORT/report.md of all that is there."""
    config = json.loads((out / "run" / "config.json").read_text())
    settings = (
        f"{about['training']} photos trained on, {about['held_out']} held out; {config['max_size']} px, "
        f"{config['scale_count']} scales, steps of the scales {config['iterations']}."
    )
    lines = ["# Meta Internal Learning", "", settings, "", machine(about["device"]), ""]
    found = {
        name: json.loads((out / name / "evaluation.json").read_text())["mean"]
        for name in ("training", "held_out")
        if (out / name / "evaluation.json").is_file()
    }
    if found:
        cells = [
            [TITLES[key], *(f"{found[name][key]:.4f}" for name in found)] for key in TITLES if key in found["training"]
        ]
        lines += ["## Scores, means over the photos", "", *table(["", *found], cells)]
    if (out / "unseen" / "adapt_curve.md").is_file():
        lines += [
            "## Training on an unseen photo",
            "",
            (out / "unseen" / "adapt_curve.md").read_text(),
            "![quality against seconds](unseen/adapt_curve.png)",
            "",
        ]
    for title, *patterns in FIGURES:
        found = [sorted(out.glob(pattern), key=lambda path: len(path.name))[:1] for pattern in patterns]
        pictures = [f"![{title}]({path.relative_to(out)})\n" for paths in found for path in paths]
        lines += [f"## {title}", "", *pictures] if pictures else []
    (out / "report.md").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=[*TRAININGS, "unseen-photo", "interpolation"])
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run and the report")
    parser.add_argument("--preset", help="in place of the published settings")
    parser.add_argument("--budget", type=float, default=1.0, help="share of the published steps")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--checkpoint-every", type=int, default=200)
    parser.add_argument("--count", type=int, default=10, help="samples of each photo that are scored")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    training, held_out = split(find_photos(options.photos))
    if options.experiment in TRAININGS and not train(options, training):
        unfinished()
    model, photos = Model.open(options.out / "run", options.device), [read_photo(path) for path in held_out]
    if options.experiment in TRAININGS:
        score(options, model, model.with_photos(photos))
    elif options.experiment == "unseen-photo":
        tune(options, model, photos)
    else:
        walk(options, model)
    report(options.out, {"training": len(training), "held_out": len(held_out), "device": str(model.device)})
    print(f"report: {options.out / 'report.md'}")


if __name__ == "__main__":
    main()

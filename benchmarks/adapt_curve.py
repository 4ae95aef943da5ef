"""What training on an unseen photo brings after one forward pass: quality against steps and seconds.

    OMP_NUM_THREADS=1 python -m benchmarks.adapt_curve demo/run [PHOTO_OR_FOLDER ...] [--steps 10 50 200]
                                                       [--consingan 100 500] [--out FOLDER]

From the hypernetwork's output, K steps per scale of the photo's weight sets, or K steps of all scales of its embedding;
beside them a ConSinGAN trained on the photo from nothing, K steps per stage, at the same size. Means over the photos:
seconds (of the processor, on a CPU), patch SWD, coherence and diversity of eight samples, RMSE of the reconstruction
(of values from 0 to 1). FOLDER gets the figures as JSON, a Markdown table and a chart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.environment import describe
from benchmarks.report import table
from benchmarks.training import SCORES, clock, scores
from hyperconv.apps.chart import Canvas, Plot, Series
from hyperconv.apps.model import Model
from hyperconv.data.collection import Collection
from hyperconv.data.examples import HELD_OUT, load_examples
from hyperconv.data.images import Photo, read_photos
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer

SAMPLES = 8
CHARTED = ("patch_swd", "diversity", "rmse")
COLOURS = {"weights": (35, 105, 180), "embedding": (228, 120, 30), "ConSinGAN from nothing": (90, 90, 90)}


def adapted(model: Model, photo: Photo, steps: int, tuning: str) -> dict[str, float]:
    began = clock(model.device)
    seen = model.with_photos([photo])
    photo_model = seen.tuned(0, steps, tuning=tuning)
    seconds = clock(model.device) - began
    return {"seconds": seconds, **scores(photo_model, seen.photo(0), SAMPLES)}


def from_nothing(model: Model, photo: Photo, steps: int) -> dict[str, float]:
    config = preset(
        "tiny", "consingan", max_size=model.config.max_size, hidden=model.config.hidden, iterations=(steps,)
    )
    collection = Collection([photo], config.pyramid(), model.system.channels)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Run.create(Path(folder) / "run", config, collection), collection, model.device)
        began = clock(model.device)
        for _ in trainer.train():
            pass
        seconds = clock(model.device) - began
    alone = Model(trainer.system, collection, trainer.amplitudes)
    return {"seconds": seconds, **scores(alone.photo_model(0), alone.photo(0), SAMPLES)}


def measure(model: Model, photos: list[Photo], steps: list[int], consingan: list[int], out: Path | None) -> None:
    """Print a line for each way and number of steps; `out` gets all of them after each."""
    runs = [("weights", each) for each in [0, *steps]] + [("embedding", each) for each in steps]
    runs += [("ConSinGAN from nothing", each) for each in consingan]
    rows = []
    for tuning in ("weights", "embedding"):
        adapted(model, photos[0], 1, tuning)  # the first call of every layer takes longer
    for what, count in runs:
        found = [
            from_nothing(model, photo, count) if what.startswith("ConSinGAN") else adapted(model, photo, count, what)
            for photo in photos
        ]
        means = {name: sum(each[name] for each in found) / len(found) for name in found[0]}
        rows.append({"what": what, "steps": count, **{name: round(value, 5) for name, value in means.items()}})
        print(" ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        if out:
            write(out, {"environment": describe(str(model.device)), "photos": [photo.name for photo in photos]}, rows)


def write(folder: Path, about: dict, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapt_curve.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    cells = [
        [
            row["what"] if row["steps"] else "one forward pass",
            str(row["steps"]),
            f"{row['seconds']:.2f}",
            *(f"{row[name]:.4f}" for name in SCORES),
        ]
        for row in rows
    ]
    lines = table(["trained", "steps", "seconds", *SCORES.values()], cells)
    (folder / "adapt_curve.md").write_text("\n".join(lines))
    canvas = Canvas(1000, 300)
    canvas.legend((36, 10), [Series(name, colour, ()) for name, colour in COLOURS.items()])
    for place, name in enumerate(CHARTED):
        plot = Plot(
            canvas,
            (330 * place, 30, 330, 260),
            SCORES[name],
            (0, max(row["seconds"] for row in rows) * 1.05),
            (0, max(row[name] for row in rows) * 1.08),
        )
        plot.axes(x_label="seconds")
        for what, colour in COLOURS.items():
            points = [
                plot.at(row["seconds"], row[name])
                for row in rows
                if row["what"] == what or (row["steps"] == 0 and what == "embedding")
            ]
            points.sort()
            if points:
                canvas.line(points, colour, 1.5)
            for point in points:
                canvas.dot(point, colour, alpha=255)
    canvas.picture().save(folder / "adapt_curve.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a trained meta-GAN: that of `make demo`, for one")
    parser.add_argument("photos", nargs="*", help="photos it never saw (default: the two that the demo holds out)")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--consingan", type=int, nargs="+", default=[100, 500], help="its steps per stage")
    parser.add_argument("--out", type=Path, help="folder for adapt_curve.json, .md and .png")
    options = parser.parse_args()
    photos = read_photos(options.photos)[0] if options.photos else load_examples(HELD_OUT)
    measure(Model.open(options.run), photos, options.steps, options.consingan, options.out)


if __name__ == "__main__":
    main()

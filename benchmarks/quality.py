"""One meta-GAN beside single-image GANs of the same photos for the same time, and photos it never saw.

    OMP_NUM_THREADS=1 python -m benchmarks.quality --photos FOLDER --out REPORT [--preset tiny] [--budget 1.0]

Trains the meta-GAN on four fifths of the photos and holds every fifth out (--fold: which); then a ConSinGAN of its own for each of the
training photos, all side by side, with as many steps per stage as the processor time of the meta-GAN pays for. Scored
alike: the training photos by both, the held-out ones by one forward pass and after some steps of tuning. What takes
longer than --minutes stops at a checkpoint, with exit code 3: the same command goes on. REPORT gets quality.json, .md
and .png.
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from benchmarks import published
from benchmarks.ablation import ARMS
from benchmarks.report import table
from benchmarks.training import (
    HELD_OUT_EVERY,
    SCORES,
    Deadline,
    clock,
    machine,
    means,
    parser,
    scaled,
    scores_of_all,
    seconds_of,
    split,
    train,
    unfinished,
)
from hyperconv.apps.chart import Canvas, Series, scatter
from hyperconv.apps.model import Model
from hyperconv.data.images import find_photos, read_photo
from hyperconv.gan.presets import Config, preset

PILOT = 5  # steps per stage that tell what one takes
TRAINING, HELD_OUT = "meta-GAN, photos it trained on", "meta-GAN, photos it never saw"
SINGLE = "ConSinGAN of each photo"
TUNED = "... after {} steps per scale"
COLOURS = ((35, 105, 180), (110, 180, 90), (190, 60, 120), (228, 120, 30))


def paid_for(seconds: float, photos: list, config: Config, device: str) -> Config:
    """The configuration with as many steps per stage as take so many seconds, but at least 10."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(run, photos, replace(config, iterations=(PILOT,)), Deadline(60), device=device)
        steps = round(seconds / seconds_of(run) * PILOT)
    return replace(config, iterations=(max(10, steps),))


def judge(out: Path, options: Namespace, held_out: list[Path]) -> dict[str, dict]:
    """Scores of every photo, by who drew the samples; what is there already is not scored again."""
    file, model = out / "scores.json", Model.open(out / "meta", options.device)
    found = json.loads(file.read_text()) if file.is_file() else {}
    began = clock(model.device)
    never_seen = model.with_photos([read_photo(path) for path in held_out])
    opening = (clock(model.device) - began) / len(held_out)
    for who, of, steps in (
        (TRAINING, model, 0),
        (HELD_OUT, never_seen, 0),
        (TUNED.format(options.tune), never_seen, options.tune),
        (SINGLE, None, 0),
    ):
        if who not in found:
            found[who] = scores_of_all(of or Model.open(out / "consingan", options.device), options.count, steps)
            if of is never_seen:
                for row in found[who].values():
                    row["seconds"] += opening
            file.write_text(json.dumps(found, indent=1) + "\n")
            print(f"scored: {who}", flush=True)
    return found


def report(out: Path, found: dict[str, dict], fold: int, device: str) -> str:
    runs = {name: json.loads((out / name / "config.json").read_text()) for name in ("meta", "consingan")}
    spent = {name: seconds_of(out / name) for name in runs}
    rows = {who: means(photos.values()) for who, photos in found.items()}
    for who, run in ((TRAINING, "meta"), (SINGLE, "consingan")):
        rows[who]["seconds"] = spent[run] / len(found[who])
    cells = [
        [who, str(len(found[who])), *(f"{row[key]:.4f}" for key in SCORES), f"{row['seconds']:.2f}"]
        for who, row in rows.items()
    ]
    swd = {who: row["patch_swd"] for who, row in rows.items()}
    summary = {
        "held-out over training photos, patch SWD": swd[HELD_OUT] / swd[TRAINING],
        "training photos over ConSinGAN, patch SWD": swd[TRAINING] / swd[SINGLE],
    }
    (out / "quality.json").write_text(
        json.dumps(
            {
                "machine": machine(device),
                "configurations": runs,
                "seconds": spent,
                "means": rows,
                **summary,
            },
            indent=1,
        )
        + "\n"
    )
    size, meta, single = runs["meta"]["max_size"], runs["meta"]["iterations"], runs["consingan"]["iterations"]
    about = (
        f"Photos of at most {size} px, seed {runs['meta']['seed']}; of every five, number {fold} is held out. "
        f"Meta-GAN: steps of the scales {meta}, batch {runs['meta']['batch_size']}, {spent['meta']:.0f} s. ConSinGAN: {single[0]} steps per stage, {spent['consingan']:.0f} s "
        "for all photos. Means over the photos; seconds are of a photo: its share of the training, or for photos "
        "nobody trained on, what its model took."
    )
    title = "# One meta-GAN, single-image GANs for the same time, and photos nobody trained on"
    lines = [
        title,
        "",
        machine(device),
        "",
        about,
        "",
        *table(["samples of", "photos", *SCORES.values(), "seconds"], cells),
        *(f"- {what}: {ratio:.2f}" for what, ratio in summary.items()),
        "",
        "![one dot a photo](quality.png)",
        "",
        "For comparison, scores of samples that others published, at 250 px (first 15 photos of a set):",
        "",
        *table(
            ["set", "samples of", *published.SCORES.values()],
            [[*which, *published.cells(scores)] for which, scores in published.PUBLISHED.items()],
        ),
    ]
    page = "\n".join(lines)
    (out / "quality.md").write_text(page)
    canvas = Canvas(640, 380)
    series = [
        Series(who, colour, [(row["patch_swd"], row["diversity"]) for row in found[who].values()])
        for who, colour in zip(found, COLOURS)
    ]
    canvas.legend((14, 12), series[:2])
    canvas.legend((14, 30), series[2:])
    title = "diversity (up: more) over patch SWD (left: better), one dot a photo"
    scatter(canvas, (0, 56, 640, 320), title, "patch SWD", series, {})
    canvas.picture().save(out / "quality.png")
    return page


def main() -> None:
    arguments = parser(__doc__, budget=1.0, count=10)
    arguments.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    arguments.add_argument("--tune", type=int, default=50, help="steps per scale on a held-out photo")
    arguments.add_argument(
        "--fold",
        type=int,
        default=HELD_OUT_EVERY,
        choices=range(1, HELD_OUT_EVERY + 1),
        help="which of every five photos is held out (default: %(default)s)",
    )
    arguments.add_argument(
        "--arm",
        default="preset",
        choices=list(ARMS),
        metavar="ARM",
        help="of benchmarks.ablation: 'half the rate', for one (default: the preset as it is)",
    )
    options = arguments.parse_args()
    deadline, out = Deadline(options.minutes), options.out
    training, held_out = split(find_photos([options.photos]), options.fold)
    config = scaled(preset(options.preset, seed=options.seed, **ARMS[options.arm]), options.budget)
    alike = preset(
        "paper" if options.preset.startswith("paper") else options.preset,
        "consingan",
        max_size=config.max_size,
        seed=options.seed,
    )
    if not train(out / "meta", training, config, deadline, device=options.device):
        unfinished()
    if not (out / "consingan").is_dir():
        alike = paid_for(seconds_of(out / "meta"), training, alike, options.device)
    if not train(out / "consingan", training, alike, deadline, device=options.device, checkpoint_every=25):
        unfinished()
    print(report(out, judge(out, options, held_out), options.fold, options.device))


if __name__ == "__main__":
    main()

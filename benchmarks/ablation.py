"""What each setting of the meta-GAN is worth: a preset against itself with one thing changed at a time.

    OMP_NUM_THREADS=1 python -m benchmarks.ablation --photos FOLDER --out REPORT [--budget 0.3] [--arms preset base ...]

Every arm trains with the same seed and steps on four fifths of the photos and is scored on those and on every fifth,
which it never saw. What takes longer than --minutes stops at a checkpoint, with exit code 3: the same command goes on,
and arms that are finished stay. REPORT gets ablation.json, .md and .png.
"""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from benchmarks.report import table
from benchmarks.training import (
    SCORES,
    Deadline,
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
from hyperconv.apps.chart import FAINT, Canvas, Plot, Series
from hyperconv.apps.model import Model
from hyperconv.data.images import find_photos, read_photo
from hyperconv.gan.presets import preset

ARMS = {
    "preset": {},
    "average": {"average": 0.99},
    "base": {"head_init": "base"},
    "linear heads": {"head_init": "linear"},
    "heads of rank 16": {"head_rank": 16},
    "contexts of any norm": {"context_norm": "none"},
    "no altered photos": {"variants": 0},
    "altered photos at every scale": {"variants_above": 6},
    "no thumbnail": {"first_scale_sees": "embedding"},
    "embedding trains on": {"embedding_trains": "every scale"},
    "penalty 0.1": {"penalty_weight": 0.1},
    "penalty 1": {"penalty_weight": 1.0},
    "noise 1": {"noise_factor": 1.0},
    "batch 12": {"batch_size": 12},
    "half the rate": {"learning_rate": 5e-4},
}
SEEN, UNSEEN = "training", "held out"
COLOURS = {SEEN: (35, 105, 180), UNSEEN: (228, 120, 30)}
SHOWN = ("patch_swd", "diversity", "rmse")  # in the chart


def scored(out: Path) -> dict[str, dict]:
    """What `run_arm` wrote, of every arm that is finished."""
    files = {name: folder_of(out, name) / "scores.json" for name in ARMS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def folder_of(out: Path, name: str) -> Path:
    return out / name.replace(" ", "_")


def run_arm(name: str, options: Namespace, deadline: Deadline, training: list[Path], held_out: list[Path]) -> bool:
    """Train and score an arm; whether that was to the end.

    Written to its scores.json: means of the scores by set of photos, the seconds of its training, and what it changes.
    """
    folder = folder_of(options.out, name)
    config = replace(scaled(preset(options.preset, seed=options.seed), options.budget), **ARMS[name])
    if not train(folder / "run", training, config, deadline, device=options.device):
        return False
    model = Model.open(folder / "run", options.device)
    never_seen = model.with_photos([read_photo(path) for path in held_out])
    sets = {SEEN: model, UNSEEN: never_seen}
    result = {
        **{which: means(scores_of_all(of, options.count).values()) for which, of in sets.items()},
        "seconds": seconds_of(folder / "run"),
        "changes": ARMS[name],
    }
    (folder / "scores.json").write_text(json.dumps(result) + "\n")
    return True


def report(out: Path, about: str, found: dict[str, dict]) -> str:
    header = ["", *(f"{title}, {which}" for title in SCORES.values() for which in COLOURS), "seconds"]
    cells = [
        [name, *(f"{arm[which][key]:.4f}" for key in SCORES for which in COLOURS), f"{arm['seconds']:.0f}"]
        for name, arm in found.items()
    ]
    changes = [
        f"- {name}: {', '.join(f'{key} {value}' for key, value in arm['changes'].items())}"
        for name, arm in found.items()
        if arm["changes"]
    ]
    page = "\n".join(
        [
            "# What each setting of the meta-GAN is worth",
            "",
            about,
            "",
            *table(header, cells),
            *changes,
            "",
            "![scores of every arm](ablation.png)",
            "",
        ]
    )
    (out / "ablation.md").write_text(page)
    (out / "ablation.json").write_text(json.dumps({"about": about, "arms": found}, indent=1) + "\n")
    draw(found).save(out / "ablation.png")
    return page


def draw(found: dict[str, dict]):
    """A row for each arm, a panel for each score, a dot for each set of photos."""
    row, left, top, panel = 22, 190, 44, 250
    canvas = Canvas(left + panel * len(SHOWN), top + row * len(found) + 64)
    canvas.legend(
        (14, 12),
        [
            Series(f"photos {'it trained on' if which == SEEN else 'it never saw'}", colour, ())
            for which, colour in COLOURS.items()
        ],
    )
    for place, key in enumerate(SHOWN):
        values = [arm[which][key] for arm in found.values() for which in COLOURS]
        plot = Plot(
            canvas,
            (left + panel * place - 16, top - 8, panel, row * len(found) + 62),
            SCORES[key],
            (0, 1.08 * max(values)),
            (-0.5, len(found) - 0.5),
        )
        plot.axes(y_ticks=False)
        for number, (name, arm) in enumerate(reversed(found.items())):
            ends = [plot.at(arm[which][key], number) for which in COLOURS]
            canvas.line(ends, FAINT)
            for which, end in zip(COLOURS, ends):
                canvas.dot(end, COLOURS[which], radius=4, alpha=255)
            if place == 0:
                canvas.text((left - 6, ends[0][1]), name, anchor="rm")
    return canvas.picture()


def main() -> None:
    arguments = parser(__doc__, budget=0.3, count=5)
    arguments.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    arguments.add_argument(
        "--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM", help=", ".join(ARMS)
    )
    options = arguments.parse_args()
    deadline = Deadline(options.minutes)
    training, held_out = split(find_photos([options.photos]))
    config = scaled(preset(options.preset, seed=options.seed), options.budget)
    about = (
        f"Preset {options.preset} at {config.max_size} px with {options.budget:g} of its steps, "
        f"{list(config.iterations)}; {len(training)} photos trained on, {len(held_out)} held out, {options.count} samples of each, seed {options.seed}. "
        f"{machine(options.device)}"
    )
    for name in options.arms:
        if name not in scored(options.out) and not run_arm(name, options, deadline, training, held_out):
            unfinished()
        print(report(options.out, about, scored(options.out)), flush=True)


if __name__ == "__main__":
    main()

"""Every preset from the command line: a step at each scale, the run opened again and drawn from.

    OMP_NUM_THREADS=1 python -m benchmarks.every_preset [--systems meta dip ...] [--presets paper ...] [--batch-size 2]
                                                        [--out every_preset.md]

Two bundled photos, of which meta and dip take `--batch-size` a step; for reptile scikit-learn's digits and one inner
step. Prints, and writes to OUT too, what each took: that settings as published run, and with what memory, not what they
learn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.environment import describe
from benchmarks.report import publish, table
from hyperconv.data.examples import load_examples
from hyperconv.data.images import save_png
from hyperconv.gan.presets import PRESETS, AnyConfig

PHOTOS = ["china", "rocket"]


class Cost(NamedTuple):
    seconds: float  # of the processor
    gigabytes: float  # at most


def hyperconv(*arguments: object) -> Cost:
    """Run a verb in a process of its own, which must succeed."""
    command = [sys.executable, "-m", "hyperconv", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: hyperconv {' '.join(command[3:])}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9)


def try_preset(system: str, name: str, photos: Path, batch_size: int, out: Path) -> list[str]:
    """The row of the table."""
    source = ["--examples"] if system == "reptile" else [photos]
    short = {"meta": ["--batch-size", batch_size], "dip": ["--batch-size", batch_size], "reptile": ["--inner-steps", 1]}
    trained = hyperconv(
        "train", *source, "--system", system, "--preset", name, "--iterations", 1, *short.get(system, ()), "--out", out
    )
    drawing = ["adapt", out, "--shots", out / "held_out" / "8", "-k", 4] if system == "reptile" else ["sample", out]
    drawn = hyperconv(*drawing, "--count", 1)
    return [
        system,
        name,
        size_of(PRESETS[system][name]),
        f"{trained.seconds:.0f}",
        f"{trained.gigabytes:.1f}",
        f"{drawn.seconds:.0f}",
        f"{drawn.gigabytes:.1f}",
    ]


def size_of(config: AnyConfig) -> str:
    if config.system in ("reptile", "dip"):
        return f"{config.image_size} px"
    return f"{config.max_size} px, {config.scale_count} scales"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--presets", nargs="+", help="only those of these names (default: all)")
    parser.add_argument("--batch-size", type=int, default=2, help="photos of a step of meta and dip")
    parser.add_argument("--out", type=Path, help="file of the table")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for photo in load_examples(PHOTOS):
            save_png(photo.pixels, photos / f"{photo.name}.png")
        for system in options.systems:
            for name in options.presets or PRESETS[system]:
                if name in PRESETS[system]:
                    rows.append(try_preset(system, name, photos, options.batch_size, Path(folder) / f"{system}-{name}"))
                    print(*rows[-1], sep="  ", flush=True)
    header = ["system", "preset", "images", "seconds to train", "GB", "seconds to draw", "GB"]
    about = (
        f"Two photos, {options.batch_size} of them a step of meta and dip; reptile: digits, one inner step. Seconds of the "
        "processor, most memory of the process. The features of dip are trained in full (600 steps, `tiny` 200)."
    )
    publish("A step at every scale of every preset", describe("cpu"), [about, "", *table(header, rows)], options.out)


if __name__ == "__main__":
    main()

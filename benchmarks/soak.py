"""Thousands of tiny training steps: memory must not grow, and the run must end as one that was cut in two.

    python -m benchmarks.soak [--steps 2000] [--system meta]

Prints the process's memory every tenth of the steps; exits with 1 if it grew by more than 2 % over the second half, or if
a run that stopped in the middle and was resumed does not end with the same bits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from hyperconv.data.collection import Collection
from hyperconv.data.examples import load_examples
from hyperconv.gan.memory import peak_bytes
from hyperconv.gan.presets import Config, preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer

GROWTH = 0.02


def train(path: Path, config: Config, collection: Collection, stop: int | None = None) -> list[int]:
    """Train on to the end, or to step `stop`; bytes of memory every tenth of the steps."""
    run = Run.open(path) if path.is_dir() else Run.create(path, config, collection)
    every, memory = max(1, config.iterations[0] // 10), []
    for taken in Trainer(run, collection, checkpoint_every=every).train():
        if taken.step % every == 0:
            memory.append(peak_bytes(torch.device("cpu")) or 0)
            print(f"{path.name}: step {taken.step}, {memory[-1] / 1e6:.1f} MB", flush=True)
        if taken.step == stop:
            break
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--system", default="meta", choices=["meta", "consingan", "singan"])
    options = parser.parse_args()
    config = preset(
        "tiny", options.system, max_size=24, min_size=16, scale_count=1, hidden=8, iterations=(options.steps,)
    )
    collection = Collection(load_examples(["china", "coffee", "astronaut"]), config.pyramid())
    with tempfile.TemporaryDirectory() as folder:
        memory = train(Path(folder) / "whole", config, collection)
        train(Path(folder) / "cut", config, collection, stop=options.steps * 6 // 10)
        train(Path(folder) / "cut", config, collection)
        whole, cut = (Run.open(Path(folder) / name).load("training_state")[0] for name in ("whole", "cut"))
    same = whole.keys() == cut.keys() and all(torch.equal(value, cut[name]) for name, value in whole.items())
    growth = memory[-1] / memory[len(memory) // 2 - 1] - 1
    print(
        f"memory grew by {100 * growth:.2f} % over the second half; the resumed run is {'equal' if same else 'different'}"
    )
    sys.exit(0 if same and growth < GROWTH else 1)


if __name__ == "__main__":
    main()

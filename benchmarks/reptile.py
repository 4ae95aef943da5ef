"""Reptile-GAN: domains a second that adapt side by side, beside modules copied and adapted one after another.

    OMP_NUM_THREADS=1 python -m benchmarks.reptile [--preset tiny] [--tasks 1 4 16] [--seconds 20] [--out reptile.json]

A task is a domain's whole part of an outer step: its inner steps, its word to the generator, the outer step. The rival is
`benchmarks.plain_reptile`, the published loop in plain PyTorch without its waste. Results are compared first.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

import torch

from benchmarks.environment import describe
from benchmarks.plain_reptile import PlainReptile, flat_of
from benchmarks.report import table
from hyperconv.bench.race import Race
from hyperconv.data.domain_files import load_digits
from hyperconv.data.domains import Domains
from hyperconv.gan.presets import preset
from hyperconv.gan.reptile.draws import Draws
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.reptile.system import ReptileGAN
from hyperconv.gan.reptile.tasks import Tasks
from hyperconv.gan.reptile.trainer import ReptileTrainer
from hyperconv.gan.run import Run

PLAIN = "plain modules, one by one"


def plain_step(config: ReptileConfig, domains: Domains):
    """A function that takes one task's outer step with plain modules."""
    plain = PlainReptile(ReptileGAN(config, domains.channels))

    def step() -> None:
        draws = Draws(domains, config, torch.zeros(1, dtype=torch.long), "plain")
        plain.outer_step([draws.inner() for _ in range(config.inner_steps)], draws.next(), config.meta_rate)

    return step


def check(config: ReptileConfig, domains: Domains) -> None:
    """Raises where two domains side by side do not become what they become one by one, in an inner step."""
    gan, chosen = ReptileGAN(config, domains.channels), torch.tensor([0, 1])
    updates = Draws(domains, config, chosen, "check").inner()
    tasks = Tasks(gan, 2)
    tasks.adapt(updates)
    for i in range(2):
        alone = PlainReptile(gan).adapted([[draw.of_task(i, 2) for draw in updates]])
        for name, net in alone.items():
            moved = (tasks.weights[name].flat[i] - flat_of(net)).abs() > 0.1 * config.learning_rate
            if moved.double().mean() > 0.01:  # Adam's first step is a sign: numbers without a gradient may differ
                raise SystemExit(f"wrong result: task {i} and the {name} alone differ")


def measure(config: ReptileConfig, domains: Domains, meta_batches: list[int], budget: float, folder: Path) -> dict:
    """Seconds of a task, for every meta-batch and for plain modules."""
    steps = {PLAIN: plain_step(config, domains)}
    for tasks in meta_batches:
        own = preset_with(config, tasks)
        steps[name_of(tasks)] = ReptileTrainer(Run.create(folder / f"{tasks}", own, domains), domains).take_step
    seconds = Race(steps, "cpu", budget, left_behind=math.inf).run()
    for tasks in meta_batches:
        seconds[name_of(tasks)] /= tasks
    return seconds


def preset_with(config: ReptileConfig, tasks: int) -> ReptileConfig:
    return ReptileConfig.from_json({**config.to_json(), "tasks": tasks})


def name_of(tasks: int) -> str:
    return f"hyperconv, {tasks} side by side"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = preset(options.preset, "reptile")
    domains, _ = load_digits(config.image_size).without(["8", "9"])
    check(config, domains)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(config, domains, options.tasks, options.seconds, Path(folder))
    result = {"environment": describe("cpu"), "preset": options.preset, "seconds": seconds}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    rows = [[name, f"{1 / each:.3g}", f"{seconds[PLAIN] / each:.2f}"] for name, each in seconds.items()]
    print("\n".join(table(["training", "tasks a second", "times"], rows)))


if __name__ == "__main__":
    main()

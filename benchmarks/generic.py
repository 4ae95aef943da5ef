"""hyperize, modulated_conv2d, per_sample_gradients and HyperConv2d beside what one would use in their place.

    python -m benchmarks.generic [--device cpu|cuda] [--batch 8] [--seconds 5] [--least] [--out generic.json]

Every rival of a case gets the same weights and inputs and is checked against float64 before anything is timed; then
all are timed in turn. HyperLight, hyper-nn and Opacus take part where they are installed (`pip install --no-deps
hyperlight hyper-nn opacus opt-einsum`). With `--out` the tables go beside the JSON, as Markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean

import torch

from benchmarks.environment import describe
from benchmarks.generic_cases import CASES, PACKAGES, Case, available
from benchmarks.report import best_peer, speed_up, table
from hyperconv.bench.race import Race
from hyperconv.bench.rivals import OURS

TOLERANCE = 1e-2
"""Largest relative error ||result - exact|| / ||exact|| in float32. Rounding alone gives 1e-6; one ReLU on whose side it
decides gives the gradient of a small parameter up to 5e-3, in a loop over samples as in everything else."""


def checked(case: Case) -> tuple[dict[str, Callable], dict[str, str]]:
    """The rivals that give the right results, and for the others why they are left out; ours must be right."""
    exact, right, wrong = case.exact(), {}, {}
    for name, rival in case.rivals.items():
        try:
            results = rival()
        except Exception as error:  # a peer's own limits are part of the comparison
            if name == OURS:
                raise
            wrong[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
            continue
        errors = [((results[key].double() - value).norm() / value.norm()).item() for key, value in exact.items()]
        if max(errors) < TOLERANCE:
            right[name] = rival
        elif name == OURS:
            raise SystemExit(
                f"{case.tool}, {case.name}, {case.phase}: relative error {max(errors):.2g}; nothing is timed"
            )
        else:
            wrong[name] = f"relative error {max(errors):.2g}"
    return right, wrong


def measure(case: Case, device: str, budget: float) -> dict:
    rivals, left_out = checked(case)
    race = Race(rivals, device, budget, stays=OURS)
    return {
        "tool": case.tool,
        "name": case.name,
        "phase": case.phase,
        "rounds": race.rounds,
        "seconds": race.run(),
        "least_seconds": race.least(),
        "not_timed": left_out,
    }


def report(result: dict, least: bool) -> str:
    key = "least_seconds" if least else "seconds"
    lines = [
        "# The generic tools beside what one would use in their place",
        "",
        f"{'Least' if least else 'Median'} milliseconds; every rival checked against float64 first.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in result["environment"].items()]
    lines += [f"- batch: {result['batch']}", *(f"- {name}: not installed" for name in result["absent"]), ""]
    for tool in dict.fromkeys(row["tool"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["tool"] == tool]
        names = list(dict.fromkeys(name for row in rows for name in row[key]))
        body = []
        for row in rows:
            times = [f"{row[key][name] * 1e3:.3g}" if name in row[key] else "" for name in names]
            body.append([row["name"], row["phase"], *times, best_peer(row[key]), f"{speed_up(row[key]):.2f}"])
        mean = geometric_mean(speed_up(row[key]) for row in rows)
        body.append(["geometric mean", "", *[""] * len(names), "", f"{mean:.2f}"])
        lines += [f"## {tool}", "", *table(["case", "phase", *names, "best peer", "speed-up"], body)]
        lines += sorted(
            {
                f"- {name}, {row['name']}, {row['phase']}: {why}"
                for row in rows
                for name, why in row["not_timed"].items()
            }
        )
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=8, help="weight sets and styles; four times as many gradients")
    parser.add_argument("--seconds", type=float, default=5.0, help="timed seconds per case")
    parser.add_argument("--least", action="store_true", help="tables of the least times in place of the medians")
    parser.add_argument("--out", type=Path, help="JSON; the tables go beside it")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    result = {
        "environment": describe(arguments.device),
        "batch": arguments.batch,
        "rows": [],
        "absent": [name for module, name in PACKAGES.items() if not available(module)],
    }
    for cases in CASES:
        for case in cases(arguments.batch, arguments.device):
            row = measure(case, arguments.device, arguments.seconds)
            result["rows"].append(row)
            times = row["least_seconds" if arguments.least else "seconds"]
            shown = ", ".join(f"{name} {time * 1e3:.3g}" for name, time in times.items())
            print(f"{case.tool}, {case.name}, {case.phase}: {speed_up(times):.2f}x ({shown} ms)", flush=True)
    text = report(result, arguments.least)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""One results.json and one results.md from the files that the parts of benchmarks/gpu.sh left in a folder.

python -m benchmarks.collect FOLDER [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from benchmarks.environment import describe
from benchmarks.launches import penalty_table, share_table
from benchmarks.machine import readable
from benchmarks.report import operator_sections, summary, table
from benchmarks.step import step_table

PARTS = ("machine", "launches", "step")


def collect(folder: Path, device: str) -> dict:
    """Everything measured, by part; a part that did not finish is absent."""
    results = {"environment": describe(device), "tests": verdicts(folder)}
    for part in PARTS:
        path = folder / f"{part}.json"
        if path.exists():
            results[part] = json.loads(path.read_text())
    suites = [
        json.loads(path.read_text())
        for path in sorted(folder.glob("operator-*.json"), key=lambda p: len(p.name))
    ]
    found = [bench["extra_info"] for suite in suites for bench in suite["benchmarks"] if bench["extra_info"]]
    # A layer measured again with inductor, in a file with a longer name, stands for the first measurement.
    results["operator"] = list(
        {(r["precision"], r["phase"], *r["layer"].values()): r for r in found}.values()
    )
    return results


def verdicts(folder: Path) -> list[str]:
    """pytest's last line of every test run, from its log."""
    lines = [line for path in sorted(folder.glob("tests*.log")) for line in path.read_text().splitlines()]
    return [
        line.strip("= ")
        for line in lines
        if re.search(r"\d+ (passed|failed|skipped|error).* in [\d.]+", line)
    ]


def short(results: dict) -> list[str]:
    """The figures worth a first look."""
    device = "cuda" if "gpu" in results["environment"] else "cpu"
    lines = [f"- tests: {verdict}" for verdict in results["tests"]] + [""]
    if "machine" in results:
        figures = results["machine"]["figures"]
        lines += table(
            ["limit", "measured"], [[name, readable(name, value)] for name, value in figures.items()]
        )
    if "launches" in results:
        lines += penalty_table(results["launches"]["penalty"], device)
        if results["launches"]["steps"]:
            lines += share_table(results["launches"]["steps"], device)
    if results.get("step", {}).get("steps"):
        lines += step_table(results["step"]["steps"])
    if results["operator"]:
        lines += summary(results["operator"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    results = collect(arguments.folder, arguments.device)
    (arguments.folder / "results.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
    facts = [f"- {name}: {value}" for name, value in results["environment"].items()]
    limits = results.get("machine", {}).get("figures", {})
    first_look = short(results)
    page = ["# Measured", "", *facts, *first_look, *operator_sections(results["operator"], limits)]
    (arguments.folder / "results.md").write_text("\n".join(page) + "\n")
    print("\n".join(first_look))


if __name__ == "__main__":
    main()

"""One .json and one .md from the files that the parts of benchmarks/gpu.sh left in a folder.

python -m benchmarks.collect FOLDER [--device cuda] [--results PATH]

PATH names both files without their ending; FOLDER/results unless given. Parts that an earlier call left in PATH.json
and that FOLDER lacks are kept.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from benchmarks import gpu_operators
from benchmarks.environment import describe
from benchmarks.graphs import graph_table
from benchmarks.launches import penalty_table, share_table
from benchmarks.machine import readable
from benchmarks.overhead import overhead_table
from benchmarks.report import operator_sections, summary, table
from benchmarks.singles import report as singles_table
from benchmarks.train_step import part_table

PARTS = ("machine", "selftest", "launches", "train_step", "singles", "headline", "overhead", "graphs", "gpu_operators")
TUNED = "operator-tuned-"


def read(path: Path) -> dict:
    """What a part wrote; nothing where it was killed as it wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        return {}


def operator_records(paths: list[Path]) -> list[dict]:
    found = [bench["extra_info"] for path in paths for bench in read(path).get("benchmarks", ())]
    return [record for record in found if record]


def collect(folder: Path, device: str, before: dict | None = None) -> dict:
    """Everything measured, by part; a part that did not finish is absent."""
    before = before or {}
    results = {**before, "environment": describe(device)}
    results["tests"] = verdicts(folder) or before.get("tests", [])
    for part in PARTS:
        path = folder / f"{part}.json"
        if path.exists() and (content := read(path)):
            results[part] = content
    if (folder / "cache/tiles.json").exists():
        results["tiles"] = read(folder / "cache/tiles.json")
    paths = sorted(folder.glob("operator-*.json"))
    for key, tuned in (("operator", False), ("operator_tuned", True)):
        own = [path for path in paths if path.name.startswith(TUNED) == tuned]
        every = [*before.get(key, ()), *operator_records(own)]
        results[key] = list({(r["precision"], r["phase"], *r["layer"].values()): r for r in every}.values())
    return results


def verdicts(folder: Path) -> list[str]:
    """pytest's last line of every test run, from its log."""
    lines = [line for path in sorted(folder.glob("tests*.log")) for line in path.read_text().splitlines()]
    return [line.strip("= ") for line in lines if re.search(r"\d+ (passed|failed|skipped|error).* in [\d.]+", line)]


def short(results: dict) -> list[str]:
    """The figures worth a first look."""
    device = "cuda" if "gpu" in results["environment"] else "cpu"
    lines = [f"- tests: {verdict}" for verdict in results["tests"]] + [""]
    if "machine" in results:
        figures = results["machine"]["figures"]
        lines += table(["limit", "measured"], [[name, readable(name, value)] for name, value in figures.items()])
    if "overhead" in results:
        lines += overhead_table(results["overhead"]["rows"])
    if "graphs" in results:
        lines += graph_table(results["graphs"]["rows"])
    if "launches" in results:
        lines += penalty_table(results["launches"]["penalty"], device)
        if results["launches"]["steps"]:
            lines += share_table(results["launches"]["steps"], device)
    if results.get("train_step", {}).get("rows"):
        lines += part_table(results["train_step"]["rows"])
    if results.get("singles", {}).get("stages"):
        lines += singles_table(results["singles"]["stages"])
    if "headline" in results:
        whole = results["headline"]
        steps = f"{whole['steps']} of {whole['all_steps']} steps in {whole['seconds']:.0f} s"
        lines += [f"A whole training of {whole['photos']} photos in {whole['precision']}: {steps}.", ""]
    if results["operator"]:
        lines += summary(results["operator"])
    if results.get("operator_tuned"):
        lines += ["With the tiles that `hyperconv tune` found in this run:", "", *summary(results["operator_tuned"])]
    return lines


def page(results: dict) -> list[str]:
    facts = [f"- {name}: {value}" for name, value in results["environment"].items()]
    limits = results.get("machine", {}).get("figures", {})
    lines = ["# Measured", "", *facts, *short(results), *operator_sections(results["operator"], limits)]
    if results.get("gpu_operators", {}).get("rows"):
        lines += ["# Each operator by each backend", "", *gpu_operators.page(results["gpu_operators"]["rows"])]
    if results.get("operator_tuned"):
        lines += ["# With tuned tiles", "", *operator_sections(results["operator_tuned"], limits)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--results", type=Path, help="path of the .json and the .md, without the ending")
    arguments = parser.parse_args()
    path = arguments.results or arguments.folder / "results"
    as_json, as_text = path.with_name(path.name + ".json"), path.with_name(path.name + ".md")
    results = collect(arguments.folder, arguments.device, read(as_json) if as_json.exists() else None)
    as_json.parent.mkdir(parents=True, exist_ok=True)
    as_json.write_text(json.dumps(results, separators=(",", ":")) + "\n")
    as_text.write_text("\n".join(page(results)) + "\n")
    print("\n".join(short(results)))


if __name__ == "__main__":
    main()

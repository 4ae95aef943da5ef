"""Tables from the operator suite's JSON: this package against the best peer of each layer, in Markdown.

    python -m benchmarks.report operator.json [...] [--machine machine.json] [--least] [--out operator.md]

Medians, unless `--least` asks for the least time of every rival: steadier beside a busy neighbour.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean

from hyperconv.bench.layer import CONVOLUTIONS, Layer
from hyperconv.bench.rivals import OURS

PHASE_TITLES = {
    "forward": "Forward",
    "backward": "Forward and backward",
    "penalty": "Gradient penalty (double backward)",
}
TIMED = {"seconds": "eager", "graph_seconds": "CUDA graph"}
MACHINE_RATES = {"fp64": "matmul_fp64", "fp32": "matmul_fp32", "tf32": "matmul_tf32", "bf16": "matmul_bf16"}


def records(paths: list[Path], least: bool = False) -> tuple[dict, list[dict]]:
    """The first file's machine, and one record per layer and phase of all files."""
    files = [json.loads(path.read_text()) for path in paths]
    found = [bench["extra_info"] for file in files for bench in file["benchmarks"] if bench["extra_info"]]
    if least:
        found = [{**record, "seconds": record["least_seconds"]} for record in found]
    return files[0]["machine_info"], found


def best_peer(seconds: dict[str, float]) -> str | None:
    """The quickest rival that is not this package; None where no peer could be timed."""
    peers = [name for name in seconds if not name.startswith(OURS)]
    return min(peers, key=seconds.__getitem__) if peers else None


def speed_up(seconds: dict[str, float], own: str = OURS) -> float | None:
    """Best peer's time over this package's: above 1 is quicker than every peer."""
    peer = best_peer(seconds)
    return seconds[peer] / seconds[own] if peer and own in seconds else None


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return [lines[0], "|---" * len(header) + "|", *lines[1:], ""]


def publish(title: str, facts: Mapping[str, object], body: Sequence[str], out: Path | None) -> None:
    """Print a page of Markdown, with where it was measured on top, and write it to `out` too."""
    page = "\n".join([f"# {title}", "", *(f"- {name}: {fact}" for name, fact in facts.items()), "", *body])
    print(page)
    if out:
        out.write_text(page + "\n")


def summary(found: list[dict]) -> list[str]:
    """Speed-ups of this package and of each backend: geometric mean, range, and how many layers lose."""
    ratios: dict[tuple, list[float]] = {}
    for r in found:
        for timed, key in enumerate(TIMED):
            for own in (name for name in r[key] if name.startswith(OURS)):
                if ratio := speed_up(r[key], own):
                    case = (r["precision"], list(PHASE_TITLES).index(r["phase"]), timed, own)
                    ratios.setdefault(case, []).append(ratio)
    rows = []
    for (precision, phase, timed, own), values in sorted(ratios.items()):
        figures = [f"{x:.2f}" for x in (geometric_mean(values), min(values), max(values))]
        case = [list(PHASE_TITLES.values())[phase], precision, list(TIMED.values())[timed], own]
        rows.append([*case, str(len(values)), *figures, str(sum(value < 1 for value in values))])
    header = ["phase", "precision", "timed", "by", "layers", "geometric mean", "least", "most", "below 1"]
    return ["Speed-up over the best peer of each layer:", "", *table(header, rows)]


def by_layer(found: list[dict]) -> list[str]:
    """Speed-up per layer and phase: geometric mean over sizes and batches, and the range; one table per precision."""
    lines = []
    for precision in sorted({r["precision"] for r in found}):
        ratios: dict[str, dict[str, list[float]]] = {}
        for r in found:
            if r["precision"] == precision and (ratio := speed_up(r["seconds"])):
                ratios.setdefault(_channels(r), {}).setdefault(r["phase"], []).append(ratio)
        rows = [
            [layer, *(_spread(phases.get(phase, [])) for phase in PHASE_TITLES)] for layer, phases in ratios.items()
        ]
        lines += [f"Speed-up by layer, {precision}: geometric mean (least to most)", ""]
        lines += table(["layer", *PHASE_TITLES.values()], rows)
    return lines


def bounds(found: list[dict]) -> list[str]:
    """Per layer and phase: shares of the run's own limits, and what direct sums at the full matmul rate would come to.

    Geometric means over sizes and batches. Where the last but one is below a target, direct sums cannot meet it.
    """
    rows = []
    for layer, phase in dict.fromkeys((_channels(r), r["phase"]) for r in found):
        own = [
            r
            for r in found
            if (_channels(r), r["phase"]) == (layer, phase) and r.get("limits") and speed_up(r["seconds"])
        ]
        if own:
            arithmetic, traffic = (geometric_mean(shares) for shares in zip(*map(limit_shares, own)))
            ratio = geometric_mean(speed_up(r["seconds"]) for r in own)
            rows.append(
                [
                    layer,
                    PHASE_TITLES[phase],
                    f"{arithmetic:.0%}",
                    f"{traffic:.0%}",
                    f"{ratio:.2f}",
                    f"{ratio / arithmetic:.2f}",
                    f"{min(traffic / arithmetic, 1):.0%}",
                ]
            )
    header = [
        "layer",
        "phase",
        "% of matmul rate",
        "% of copy bandwidth",
        "speed-up",
        "speed-up of direct sums at the rate",
        "their % of copy bandwidth",
    ]
    return ["What bounds the layers:", "", *table(header, rows)] if rows else []


def _channels(record: dict) -> str:
    return f"{record['layer']['in_channels']}->{record['layer']['out_channels']}"


def _spread(values: list[float]) -> str:
    return f"{geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


def milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value * 1e3:.3g}"


def details(found: list[dict], rates: dict) -> list[str]:
    """One row per layer: every rival's milliseconds, and the speed-up over the best peer."""
    names = list(dict.fromkeys(name for r in found for name in r["seconds"]))
    with_graphs = any(r["graph_seconds"] for r in found)
    header = ["layer", "size", "B", *names, "best peer", "speed-up"]
    header += ["speed-up in a graph"] * with_graphs + ["% of roofline"] * bool(rates)
    with_limits = any(r.get("limits") for r in found)
    header += ["% of matmul rate", "% of copy bandwidth"] * with_limits
    rows = []
    for r in found:
        layer, ratio, graph_ratio = r["layer"], speed_up(r["seconds"]), speed_up(r["graph_seconds"])
        row = [
            _channels(r),
            f"{layer['height']}x{layer['width']}",
            str(layer["batch"]),
            *(milliseconds(r["seconds"].get(name)) for name in names),
            best_peer(r["seconds"]) or "none",
            f"{ratio:.2f}" if ratio else "",
        ]
        row += [f"{graph_ratio:.2f}" if graph_ratio else ""] * with_graphs
        if rates:
            row.append(f"{roofline_share(r, rates):.0%}")
        if with_limits:
            row += [f"{share:.0%}" for share in limit_shares(r)]
        rows.append(row)
    return table(header, rows)


def roofline_share(record: dict, rates: dict) -> float:
    """The time that arithmetic or memory traffic must take, over this package's least."""
    phase, layer = record["phase"], Layer(**record["layer"])
    traffic = record["bytes"] * layer.bytes_moved(1, phase) / layer.bytes_moved(1)
    ideal = max(record["operations"] * CONVOLUTIONS[phase] / rates["operations"], traffic / rates["bytes"])
    times = [*record["seconds"].items(), *record["graph_seconds"].items()]
    return ideal / min(time for name, time in times if name.startswith(OURS))


def limit_shares(record: dict) -> tuple[float, float]:
    """This package's arithmetic and traffic as shares of the matmul rate and copy bandwidth of the same run.

    Arithmetic is that of direct sums: Winograd's algorithm, which needs less, may pass 1.
    """
    phase, layer, own = record["phase"], Layer(**record["layer"]), record["seconds"][OURS]
    traffic = record["bytes"] * layer.bytes_moved(1, phase) / layer.bytes_moved(1)
    operations = record["operations"] * CONVOLUTIONS[phase]
    return operations / own / record["limits"]["operations"], traffic / own / record["limits"]["bytes"]


def operator_sections(found: list[dict], limits: dict) -> list[str]:
    """One table per precision and phase, and what was not timed."""
    lines = []
    for precision in sorted({r["precision"] for r in found}):
        for phase, title in PHASE_TITLES.items():
            cells = [r for r in found if (r["precision"], r["phase"]) == (precision, phase)]
            rate = limits.get(MACHINE_RATES.get(precision))
            known = rate and limits.get("copy")
            rates = {"operations": rate, "bytes": limits["copy"]} if known else {}
            if cells:
                lines += [f"## {title}, {precision}", "", *details(cells, rates)]
    notes = {f"- {name}, {r['phase']}: {reason}" for r in found for name, reason in r["not_timed"].items()}
    return lines + ["## Not timed", "", *sorted(notes), ""] if notes else lines


def report(paths: list[Path], machine: Path | None = None, least: bool = False) -> str:
    facts, found = records(paths, least)
    limits = json.loads(machine.read_text())["figures"] if machine else {}
    unit = f"{'Least' if least else 'Median'} milliseconds per call; 3x3, bias and leaky ReLU."
    lines = ["# Per-sample convolution beside its peers", "", unit, ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    own = next((r["limits"] for r in found if r.get("limits")), None)
    if own:
        lines += [f"- matmul: {own['operations'] / 1e9:.1f} GFLOP/s", f"- copy: {own['bytes'] / 1e9:.1f} GB/s"]
    return "\n".join([*lines, "", *summary(found), *by_layer(found), *bounds(found), *operator_sections(found, limits)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="JSON files of benchmarks/test_operator.py")
    parser.add_argument("--machine", type=Path, help="JSON of benchmarks.machine, for the share of the roofline")
    parser.add_argument("--out", type=Path, help="write the whole report here and print the summary only")
    parser.add_argument("--least", action="store_true", help="the least times in place of the medians")
    arguments = parser.parse_args()
    text = report(arguments.results, arguments.machine, arguments.least)
    if arguments.out:
        arguments.out.write_text(text + "\n")
        print("\n".join(summary(records(arguments.results, arguments.least)[1])))
    else:
        print(text)


if __name__ == "__main__":
    main()

"""Speed-up of every measured layer over its best peer, as one SVG picture.

    python -m benchmarks.plot operator.json --out operator.svg [--least]

A panel for each phase, a row for each kind of layer, a dot for each size and batch.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from benchmarks.report import PHASE_TITLES, records, speed_up

PANEL, ROW, LEFT, TOP = 270, 26, 70, 46
COLOURS = {25: "#1b6ca8", 64: "#2a9d5c", 128: "#e08a1e", 188: "#b5475b", 250: "#7a4ba0"}


def picture(found: list[dict]) -> str:
    """The SVG of the records of one precision."""
    layers = list(dict.fromkeys(_kind(r) for r in found))
    ratios = [ratio for r in found if (ratio := speed_up(r["seconds"]))]
    low, high = math.log2(min([*ratios, 1]) * 0.95), math.log2(max([*ratios, 1]) * 1.05)
    bottom = TOP + ROW * len(layers)
    width, height = LEFT + PANEL * len(PHASE_TITLES), bottom + 44

    def across(panel: int, ratio: float) -> float:
        return LEFT + PANEL * panel + (PANEL - 24) * (math.log2(ratio) - low) / (high - low)

    shapes = [_text(LEFT - 10, TOP + ROW * (i + 0.65), name, "end") for i, name in enumerate(layers)]
    for panel, (phase, title) in enumerate(PHASE_TITLES.items()):
        shapes.append(_text(across(panel, 2**low), 18, title))
        for ratio in (0.5, 1, 2, 4, 8):
            if low <= math.log2(ratio) <= high:
                x, weight = across(panel, ratio), 1.6 if ratio == 1 else 0.5
                shapes.append(f'<path d="M{x:.1f} {TOP - 10}V{bottom}" stroke="#888" stroke-width="{weight}"/>')
                shapes.append(_text(x, TOP - 14, f"{ratio:g}x", "middle"))
        for r in found:
            if r["phase"] == phase and (ratio := speed_up(r["seconds"])):
                x, y = across(panel, ratio), TOP + ROW * (layers.index(_kind(r)) + 0.5)
                colour = COLOURS.get(r["layer"]["height"], "#444")
                dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.7"/>'
                shapes.append(dot)
    x = LEFT
    for size in sorted({r["layer"]["height"] for r in found}):
        shapes.append(f'<circle cx="{x}" cy="{bottom + 24}" r="4" fill="{COLOURS.get(size, "#444")}"/>')
        shapes.append(_text(x + 9, bottom + 28, f"{size} px"))
        x += 70
    shapes.append(_text(x + 10, bottom + 28, "speed-up over the best peer; a dot for each batch"))
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="12"'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'{frame} font-family="sans-serif">', ground, *shapes, "</svg>\n"])


def _kind(record: dict) -> str:
    return f"{record['layer']['in_channels']}→{record['layer']['out_channels']}"


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="JSON files of benchmarks/test_operator.py")
    parser.add_argument("--out", type=Path, required=True, help="the SVG to write")
    parser.add_argument("--least", action="store_true", help="the least times in place of the medians")
    arguments = parser.parse_args()
    arguments.out.write_text(picture(records(arguments.results, arguments.least)[1]))


if __name__ == "__main__":
    main()

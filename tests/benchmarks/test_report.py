"""Timing and tables: the best peer is the one that counts."""

import json
from xml.etree import ElementTree

from benchmarks.collect import collect, short
from benchmarks.plot import picture
from benchmarks.report import best_peer, by_layer, report, speed_up, summary
from benchmarks.step import PLAIN
from benchmarks.timing import rotating

SECONDS = {"grouped": 4.0, "loop": 2.0, "hyperconv": 1.0, "hyperconv-native": 0.5}


def record(phase="forward", seconds=SECONDS, **changes):
    layer = {"in_channels": 3, "out_channels": 64, "height": 25, "width": 25, "batch": 4}
    return {
        "phase": phase,
        "device": "cpu",
        "precision": "fp32",
        "layer": layer,
        "seconds": seconds,
        "least_seconds": {"loop": 3.0, "hyperconv": 1.0},
        "graph_seconds": {},
        "not_timed": {},
        "operations": 1e9,
        "bytes": 1e6,
        **changes,
    }


def written(tmp_path, records):
    path = tmp_path / "operator.json"
    benchmarks = [{"extra_info": r} for r in records] + [{"extra_info": {}}]
    path.write_text(json.dumps({"machine_info": {"cpu": "a processor"}, "benchmarks": benchmarks}))
    return path


def test_speed_up_is_over_the_best_peer_and_not_over_this_package():
    assert best_peer(SECONDS) == "loop"
    assert speed_up(SECONDS) == 2.0
    assert speed_up({"hyperconv": 1.0}) is None


def test_summary_has_the_geometric_mean_and_the_losses():
    slow = {"grouped": 1.0, "hyperconv": 2.0}
    text = "\n".join(summary([record(), record(), record(seconds=slow)]))
    assert "| 3 | 1.26 | 0.50 | 2.00 | 1 |" in text


def test_report_names_machine_layers_and_what_was_not_timed(tmp_path):
    path = written(tmp_path, [record(), record(phase="penalty", not_timed={"vmap": "relative error 0.5"})])
    text = report([path])
    assert "a processor" in text and "| 3->64 | 25x25 | 4 |" in text
    assert "## Gradient penalty" in text and "- vmap, penalty: relative error 0.5" in text


def test_least_times_in_place_of_medians(tmp_path):
    assert "| 3.00 |" in report([written(tmp_path, [record()])], least=True)


def test_roofline_takes_the_larger_of_arithmetic_and_memory(tmp_path):
    machine = tmp_path / "machine.json"
    machine.write_text(json.dumps({"figures": {"matmul_fp32": 1e10, "copy": 2e6}}))
    assert "| 100% |" in report([written(tmp_path, [record()])], machine)


def test_shares_of_the_limits_that_the_run_itself_measured(tmp_path):
    text = report([written(tmp_path, [record(phase="backward", limits={"operations": 6e9, "bytes": 1e7})])])
    assert "- matmul: 6.0 GFLOP/s" in text
    assert (
        "| 3->64 | Forward and backward | 50% | 30% | 2.00 | 4.00 | 60% |" in text
    )  # at the full rate, twice as quick
    assert "| 50% | 30% |" in text  # three convolutions of 1e9 operations, and 3 of 1e6 bytes, in a second


def test_picture_has_a_dot_for_every_layer_and_phase():
    found = [record(), record(phase="penalty"), record(seconds={"grouped": 1.0, "hyperconv": 2.0})]
    dots = [e for e in ElementTree.fromstring(picture(found)).iter() if e.tag.endswith("circle")]
    assert len(dots) == len(found) + 1  # and one in the legend


def test_collects_what_the_parts_left(tmp_path):
    written(tmp_path, [record(), record(phase="penalty")]).rename(tmp_path / "operator-fp32.json")
    (tmp_path / "tests-gpu.log").write_text("...\n==== 71 passed, 2 skipped in 33.10s ====\n")
    (tmp_path / "machine.json").write_text(json.dumps({"figures": {"copy": 4.3e12, "launch": 2e-6}}))
    row = {"scale": 0, "size": [19, 26], "batch": 4, "precision": "fp32", "parts": {}}
    steps = [{**row, "rival": PLAIN, "seconds": 2.0}, {**row, "rival": "hyperconv", "seconds": 0.5}]
    (tmp_path / "train_step.json").write_text(json.dumps({"rows": steps}))
    results = collect(tmp_path, "cpu")
    text = "\n".join(short(results))
    assert results["tests"] == ["71 passed, 2 skipped in 33.10s"] and "71 passed" in text
    assert len(results["operator"]) == 2 and "4.3e+03 GB/s" in text and "2.00 us" in text
    assert "| 0 | 19x26 | 4 | hyperconv | fp32 | 500 | 4.00 |" in text
    assert "launches" not in results


def test_rotation_visits_every_input():
    seen = []
    call = rotating([lambda i=i: seen.append(i) for i in range(3)])
    for _ in range(6):
        call()
    assert sorted(seen) == [0, 0, 1, 1, 2, 2] and seen[:3] == seen[3:]


def test_layers_have_a_row_each_with_their_spread():
    slow = {"grouped": 1.0, "loop": 3.0, "hyperconv": 2.0}
    lines = by_layer([record(), record(seconds=slow)])
    (row,) = (line for line in lines if line.startswith("| ") and "->" in line)
    assert "(0.50 to" in row

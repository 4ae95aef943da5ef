"""`hyperconv bench`."""

import json

import pytest

from hyperconv.bench import rivals
from hyperconv.bench.compare import compare
from hyperconv.bench.peers import PEERS, grouped

QUICK = ["--size", "9x8", "--batch-size", "2", "--seconds", "0.01", "--device", "cpu"]


def test_a_line_for_each_layer_and_phase(hyperconv, tmp_path):
    answer = hyperconv("bench", "2:3", "4:1", "--kernel", "5", *QUICK, "--json", tmp_path / "bench.json")
    assert answer.code == 0 and not answer.error
    assert "2 samples of 9x8 pixels, each with its own 5x5 weights, stride 1; float32 on cpu" in answer.out
    rows = [line.split() for line in answer.out.splitlines() if "->" in line]
    assert [row[:2] for row in rows] == [
        [layer, phase] for layer in ("2->3", "4->1") for phase in ("forward", "backward", "penalty")
    ]
    assert all(row[-1].strip("()") in PEERS and float(row[-2]) > 0 for row in rows)
    assert "geometric mean: forward " in answer.out and "not timed" not in answer.out
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["dtype"] == "float32" and len(written["results"]) == 6
    assert written["results"][0]["layer"] == {
        "in_channels": 2,
        "out_channels": 3,
        "height": 9,
        "width": 8,
        "batch": 2,
        "kernel": 5,
        "stride": 1,
    }


def test_a_wrong_result_is_not_timed_and_fails(hyperconv, monkeypatch):
    monkeypatch.setattr(
        rivals, "hyperconv_layer", lambda input, weight, bias, *rest: grouped(input, weight, -bias, *rest)
    )
    answer = hyperconv("bench", "2:3", *QUICK)
    assert answer.code == 1
    assert "not timed: hyperconv, 2->3 forward: relative error" in answer.out
    assert "geometric mean: -" in answer.out


def test_an_interrupted_race_keeps_what_it_measured(hyperconv, monkeypatch, tmp_path):
    def until_interrupted(*arguments):
        yield next(compare(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperconv.cli.bench.compare", until_interrupted)
    assert hyperconv("bench", "2:3", *QUICK, "--json", tmp_path / "bench.json").code == 130
    (row,) = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert row["phase"] == "forward" and row["seconds"]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["64"], ["'64'", "64:64"]),
        (["0:64"], ["'0:64'", "64:64"]),
        (["2:3", "--size", "0"], ["'0'", "128x192"]),
        (["2:3", "--size", "4x4x4"], ["'4x4x4'", "128x192"]),
        (["2:3", "--size", "1", "--kernel", "4"], ["--kernel 4", "--size 1"]),
        (["2:3", "--dtype", "tf32"], ["tf32", "float32"]),
        (["2:3", "--dtype", "int8"], ["int8"]),
        (["2:3", "--batch-size", "0"], ["--batch-size"]),
        (["2:3", "--device", "abacus"], ["abacus", "--device cpu"]),
    ],
)
def test_bad_use(hyperconv, arguments, told):
    assert hyperconv("bench", *arguments).complains(*told)

"""The parts of benchmarks/gpu.sh, as far as they run without a GPU."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch

import hyperconv
from benchmarks import every_kernel, graphs, overhead
from benchmarks.collect import collect, page
from benchmarks.report import roofline_share
from benchmarks.timing import Allowance
from hyperconv.bench.layer import Layer

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.sh"


def record(precision="tf32", phase="forward", own=1.0):
    return {
        "phase": phase,
        "precision": precision,
        "layer": vars(Layer(3, 64, 25, 25, 16)),
        "operations": 1e9,
        "bytes": 1e6,
        "seconds": {"grouped": 2.0, "hyperconv": own},
        "graph_seconds": {},
        "not_timed": {},
    }


def suite(path, *records):
    path.write_text(json.dumps({"benchmarks": [{"extra_info": r} for r in records] + [{"extra_info": {}}]}))


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_is_sound_and_names_its_parts():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    answer = subprocess.run(["bash", SCRIPT, "nonsense"], capture_output=True, text=True, check=False)
    assert answer.returncode == 2 and "no part is called 'nonsense'" in answer.stderr
    answer = subprocess.run(
        ["bash", SCRIPT, "published"], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    assert answer.returncode == 2 and "published needs photos" in answer.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_without_a_gpu_the_script_says_so(monkeypatch):
    import sys

    monkeypatch.setenv("PYTHON", sys.executable)
    answer = subprocess.run(["bash", SCRIPT, "machine"], capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and "sees no CUDA GPU" in answer.stderr


def test_later_parts_join_earlier_ones_and_tuned_stays_apart(tmp_path):
    suite(tmp_path / "operator-tf32.json", record(), record(phase="penalty"))
    suite(tmp_path / "operator-tuned-tf32.json", record(own=0.5))
    (tmp_path / "operator-bf16.json").write_text('{"cut short')
    first = collect(tmp_path, "cpu")
    assert len(first["operator"]) == 2 and first["operator_tuned"][0]["seconds"]["hyperconv"] == 0.5

    later = tmp_path / "later"
    (later / "cache").mkdir(parents=True)
    (later / "cache" / "tiles.json").write_text('{"format": 1, "devices": {}}')
    suite(later / "operator-tf32.json", record(own=0.25))
    both = collect(later, "cpu", json.loads(json.dumps(first)))
    assert len(both["operator"]) == 2 and both["tiles"]["format"] == 1
    assert [r["seconds"]["hyperconv"] for r in both["operator"] if r["phase"] == "forward"] == [0.25]
    assert "# With tuned tiles" in page(both)


def test_roofline_counts_what_each_phase_must_do():
    rates = {"operations": 1e9, "bytes": 1e30}
    shares = [roofline_share(record(phase=phase), rates) for phase in ("forward", "backward", "penalty")]
    assert shares == pytest.approx([1, 3, 4])
    layer, rates = Layer(3, 64, 25, 25, 16), {"operations": 1e30, "bytes": 1e6}
    shares = [roofline_share(record(phase=phase), rates) for phase in ("forward", "backward", "penalty")]
    assert shares[:2] == pytest.approx([1, 3]) and 6 < shares[2] < 7
    assert layer.bytes_moved(4, "backward") == 3 * layer.bytes_moved(4)


def test_an_allowance_is_spent_by_what_runs_in_it():
    allowance = Allowance(0.01)
    with pytest.raises(KeyError), allowance.spending():
        time.sleep(0.02)
        raise KeyError
    assert allowance.left < 0


def test_overhead_of_every_backend_and_of_the_kernels_alone():
    rows = overhead.measure("cpu", overhead.BATCHES)
    by = {row["by"] for row in rows}
    assert {"PyTorch", "auto", "reference", "kernels alone"} <= by and all(row["us"] > 0 for row in rows)
    assert "| conv2d | kernels alone |" in "\n".join(overhead.overhead_table(rows))


def test_penalty_of_every_way_and_what_a_failing_one_says():
    ways = graphs.ways("cpu")
    rows = [graphs.row(name, way, 6, 2, "cpu") for name, way in ways.items() if name != "hyperconv-triton"]
    assert {"grouped", "hyperconv"} <= {row["way"] for row in rows} and all(row["eager"] > 0 for row in rows)
    results = [ways[name](*graphs.problems(6, 2, "cpu", 0)) for name in ("grouped", "hyperconv")]
    assert graphs.worst_error(*results) < 1e-4

    def broken(first, inner):
        raise ValueError("one\ntwo")

    rows.append(graphs.row("broken", broken, 6, 2, "cpu"))
    assert rows[-1]["not_timed"] == "ValueError: one" and "ValueError: one" in "\n".join(graphs.graph_table(rows))


@pytest.mark.skipif(hyperconv.backends()["native"]["cpu"] is not None, reason="native does not run on the CPU here")
def test_every_kernel_is_called_and_compared(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["every_kernel", "--device", "cpu", "--backend", "native", "--dtypes", "float64"])
    with pytest.raises(SystemExit) as left:
        every_kernel.main()
    assert left.value.code == 0 and "30 calls, 0 wrong" in capsys.readouterr().out
    monkeypatch.setitem(every_kernel.TOLERANCE, torch.float64, 0.0)
    with pytest.raises(SystemExit) as left:
        every_kernel.main()
    assert left.value.code == 1

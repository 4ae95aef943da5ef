"""Training that is stopped, gently or not, goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from hyperconv.cli.stopping import until_stopped
from hyperconv.gan.run import Run
from tests.cli.conftest import SMALL

STEPS = [*SMALL, "--batch-size", "2"]


@pytest.fixture
def short_guess():
    """Whole, as in the process that is killed."""


@pytest.fixture
def one_thread():
    """As in the process that is killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(photos, run, *options):
    interruptible = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # in a background job too
    command = f"{interruptible}; import torch; torch.set_num_threads(1); from hyperconv.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "train", str(photos), "--out", str(run), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_record(run):
    try:
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    except (FileNotFoundError, IndexError, json.JSONDecodeError):
        return -1, 0
    return last["scale"], last["step"]


def wait_for(process, run, scale, step):
    deadline = time.monotonic() + 600
    while last_record(run) < (scale, step):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_run_resumed_equals_an_uninterrupted_one(hyperconv, photos, tmp_path, one_thread):
    steps = [*STEPS, "--iterations", "10,30"]  # a checkpoint at the end of the first scale
    process = start(photos, tmp_path / "killed", *steps)
    wait_for(process, tmp_path / "killed", 1, 10)
    process.kill()
    process.communicate()
    resumed = hyperconv("train", "--out", tmp_path / "killed", "--resume", *steps)
    assert resumed.code == 0, resumed.error
    assert "continued from scale 1, step 10" in resumed.out
    assert hyperconv("train", photos, "--out", tmp_path / "whole", *steps).code == 0
    for name in ("model", "training_state"):
        one, other = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "killed"))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert last_record(tmp_path / "killed") == last_record(tmp_path / "whole") == (1, 30)
    records = [
        [{**json.loads(line), "seconds": 0, "memory": 0} for line in (tmp_path / run / "metrics.jsonl").open()]
        for run in ("whole", "killed")
    ]
    assert records[0] == records[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_last_step_and_says_how_to_go_on(photos, tmp_path, number):
    process = start(photos, tmp_path / "run", *STEPS, "--iterations", "5,5000")
    wait_for(process, tmp_path / "run", 1, 10)
    process.send_signal(number)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130
    assert error.startswith("hyperconv: interrupted at scale 2, step ") and error.count("\n") == 1
    step = int(error.partition("step ")[2].partition(";")[0])
    assert step >= 10 and f"the last checkpoint is of scale 2, step {step};" in error
    assert f"hyperconv train --resume --out {tmp_path / 'run'}" in error
    assert Run.open(tmp_path / "run").checkpoint() == (1, step)


def test_asked_twice_training_stops_at_once():
    asked = []

    def steps():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        asked.append("went on")
        yield

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        list(until_stopped(None, steps()))
    assert not asked and signal.getsignal(signal.SIGTERM) == before

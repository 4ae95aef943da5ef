"""`hyperconv train` under torchrun: one of the processes speaks and writes, and errors are one line."""

import os
import subprocess
import sys

from safetensors.torch import load_file

from tests.cli.conftest import QUICK


def torchrun(*arguments):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hyperconv", *arguments]
    return subprocess.run(
        [sys.executable, *map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_and_how_they_refuse(photos, tmp_path):
    trained = torchrun("train", photos, "--out", tmp_path / "run", *QUICK)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("3 photos, 2 scales up to 24 px, 3 steps, on cpu, 2 processes\n") == 1
    assert trained.stdout.count("next: hyperconv sample") == 1
    assert load_file(tmp_path / "run" / "model.safetensors") and list((tmp_path / "run" / "samples").iterdir())

    refused = torchrun("train", photos, "--out", tmp_path / "single", "--system", "consingan", *QUICK)
    assert refused.returncode == 1
    said = [line for line in refused.stderr.splitlines() if line.startswith(("hyperconv:", "hyperconv, process"))]
    assert len(said) == 1 and "2 processes cannot share a run of --system consingan" in said[0]
    assert not (tmp_path / "single").exists()

"""Options of the benchmark suite, and the machine's facts in its JSON."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.environment import PRECISIONS, describe, set_precision
from benchmarks.machine import MATMUL_SIDE, copy_bandwidth, matmul_rate
from benchmarks.report import summary
from benchmarks.timing import Allowance

STARTED = pytest.StashKey[float]()
RECORDS = pytest.StashKey[list]()
INDUCTOR = pytest.StashKey[Allowance]()


def pytest_addoption(parser):
    group = parser.getgroup("hyperconv benchmarks")
    group.addoption("--device", default="cpu", choices=("cpu", "cuda"), help="where the layers run")
    group.addoption("--precision", default="fp32", choices=sorted(PRECISIONS), help="dtype and TF32 setting")
    group.addoption("--full", action="store_true", help="the whole list of layers; hours on a small CPU")
    group.addoption(
        "--inductor",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="also torch.compile(mode='max-autotune'), in as many layers as compile and check in that time",
    )
    group.addoption("--cell-seconds", type=float, default=None, help="timed seconds per layer and phase")
    group.addoption("--deadline", type=float, default=None, help="skip what has not begun after so many seconds")


def pytest_configure(config):
    if config.getoption("--device") == "cuda":
        torch.backends.cudnn.benchmark = True
    config.stash[STARTED] = time.monotonic()
    config.stash[RECORDS] = []
    config.stash[INDUCTOR] = Allowance(config.getoption("--inductor"))


@pytest.fixture
def device(request) -> str:
    return request.config.getoption("--device")


@pytest.fixture
def precision(request) -> str:
    return request.config.getoption("--precision")


@pytest.fixture
def dtype(precision) -> torch.dtype:
    return set_precision(precision)


@pytest.fixture(scope="session")
def limits(request) -> dict[str, float]:
    """What this CPU does at most, by `benchmarks.machine`: bytes copied and operations of a matmul, per second.

    Empty on a GPU, whose limits `benchmarks.machine` measures in a run of its own, and where torch has no fast
    products of the precision.
    """
    precision = request.config.getoption("--precision")
    if request.config.getoption("--device") != "cpu" or precision not in ("fp32", "fp64"):
        return {}
    return {"bytes": copy_bandwidth("cpu"), "operations": matmul_rate(precision, "cpu", MATMUL_SIDE["cpu"][precision])}


@pytest.fixture
def each_backend(request, device) -> bool:
    """Whether every backend runs beside the package's own choice; a daily run on a CPU has no time for it."""
    return device == "cuda" or request.config.getoption("--full")


@pytest.fixture
def inductor(request) -> Allowance:
    """The time that inductor may still spend in this session."""
    return request.config.stash[INDUCTOR]


@pytest.fixture
def cell_seconds(request, device) -> float:
    given = request.config.getoption("--cell-seconds")
    return given or (1.0 if device == "cpu" else 0.1)


@pytest.fixture
def records(request) -> list[dict]:
    """What has been measured in this session."""
    return request.config.stash[RECORDS]


@pytest.fixture(autouse=True)
def before_the_deadline(request):
    deadline = request.config.getoption("--deadline")
    if deadline and time.monotonic() - request.config.stash[STARTED] > deadline:
        pytest.skip(f"the {deadline:g} seconds given for the run are spent")


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info.clear()
    machine_info.update(describe(config.getoption("--device")))


def pytest_benchmark_update_json(output_json):
    """Keeps what the reports read: the times of all rivals, which the rounds of one of them say nothing about."""
    output_json["benchmarks"] = [{"extra_info": cell["extra_info"]} for cell in output_json["benchmarks"]]


def pytest_terminal_summary(terminalreporter, config):
    """Speed-ups over the best peer, last."""
    if config.stash[RECORDS]:
        terminalreporter.write_line("\n".join(["", *summary(config.stash[RECORDS])]))

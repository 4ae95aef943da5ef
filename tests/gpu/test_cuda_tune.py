"""The tuner on a GPU: candidates compile and are right, its clock runs, and what it keeps is used."""

from dataclasses import asdict

import pytest

import hyperconv


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """The tuner with a cache of its own."""
    reason = hyperconv.backends()["triton"]["cuda"]
    if reason is not None:
        pytest.skip(f"triton: {reason}")
    from hyperconv.kernels import configurations, measured, operations

    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path))

    def forget():
        measured.best.cache_clear()
        configurations.measured_here.cache_clear()
        operations.forget_plans()

    forget()
    yield configurations
    forget()


CLASSES = [
    ("correlate", 64, 64),
    ("correlate", 3, 64),
    ("correlate", 64, 3),
    ("accumulate", 64, 64),
    ("accumulate", 3, 64),
]


@pytest.mark.parametrize("kernel, channels, outputs", CLASSES)
@pytest.mark.parametrize("arithmetic", ["tf32", "bfloat16"])
def test_the_tiles_in_use_are_right_and_timed(kernels, kernel, channels, outputs, arithmetic):
    from hyperconv.kernels import tune

    case = tune.Case(kernel, channels, outputs, 25, arithmetic, batch=4)
    assert tune.fault(case, case.default()) is None
    assert 1e-7 < tune.graph_clock(case, case.default())() < 1


def test_a_short_run_keeps_what_it_found(kernels):
    from hyperconv.kernels import measured, tune
    from hyperconv.kernels.workers import Workers

    case = tune.Case("correlate", 8, 32, 25, "bfloat16", batch=4)
    workers = Workers(tune.fault, 2)
    try:
        *_, found = tune.tune([case], 90, workers.check)
    finally:
        workers.stop()
    assert found.base == found.default and len(found.right) > 1
    assert measured.read()[case.title()][case.name]["tiles"] == asdict(found.best)
    assert kernels.tiles("{}.{}".format(*capability()), "bfloat16", case.layer, case.pairs) == found.best


def capability():
    import torch

    return torch.cuda.get_device_capability()

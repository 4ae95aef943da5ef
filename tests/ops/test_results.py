"""The tables of what was measured name classes that calls really fall into, backends that exist, and results that are there."""

import itertools
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from hyperconv.kernels import measured
from hyperconv.kernels.arithmetic import ARITHMETICS
from hyperconv.kernels.configurations import SHIPPED, classify
from hyperconv.ops import results
from hyperconv.ops.backends import NAMES
from hyperconv.ops.schema import OPERATIONS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
KERNELS = {
    "accumulate": ("weight_gradient", "parameter_gradients"),
    "correlate": ("conv2d", "masked_conv2d", "input_gradient"),
}
CLASSES = {
    (arithmetic, str(classify(kernel, arithmetic, channels, outputs, 9, side**2, last)))
    for kernel, arithmetic, channels, outputs, side, last in itertools.product(
        KERNELS, ARITHMETICS, (1, 3, 8, 16, 64), (1, 2, 3, 8, 16, 32, 64, 128), (25, 128), (False, True)
    )
}


@pytest.mark.parametrize("key", SHIPPED, ids=" ".join)
def test_shipped_tiles_are_of_a_class_and_may_be_launched(key):
    _, arithmetic, name = key
    tiles = SHIPPED[key]
    assert (arithmetic, name) in CLASSES and measured.usable(asdict(tiles))
    _, kind, outputs, *_ = name.split("/")
    assert tiles.outputs <= int(outputs) or tiles.relaid and kind == "thin"
    assert tiles.outputs == int(outputs) or kind != "thin" or tiles.relaid


@pytest.mark.parametrize("key", results.FASTEST, ids=" ".join)
def test_the_fastest_backend_is_of_a_class_of_the_operator(key):
    capability, arithmetic, operation, name = key
    assert (arithmetic, name) in CLASSES and operation in KERNELS[name.split("/")[0]]
    assert results.FASTEST[key] in NAMES and (RESULTS / results.RESULTS[capability]).is_dir()


def test_what_was_measured_on_amx_is_of_classes_too():
    for (operation, name), backend in results.FASTEST_ON_AMX.items():
        assert ("bfloat16", name) in CLASSES and operation in KERNELS[name.split("/")[0]] and operation in OPERATIONS
        assert backend in ("native", "reference")

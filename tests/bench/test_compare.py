"""A layer beside every peer: what is right is timed, what is wrong is named."""

import pytest
import torch

from hyperconv.bench import rivals
from hyperconv.bench.compare import Comparison, compare
from hyperconv.bench.layer import Layer
from hyperconv.bench.peers import PEERS, grouped
from hyperconv.bench.phases import PHASES
from hyperconv.bench.rivals import OURS

LAYER = Layer(3, 4, 7, 6, 2, kernel=4, stride=2)
CPU = torch.device("cpu")


@pytest.mark.parametrize("arithmetic", ["float32", "float64", "bfloat16"])
def test_every_phase_of_a_layer(arithmetic):
    found = list(compare(LAYER, arithmetic, CPU, 0.01))
    assert [each.phase for each in found] == list(PHASES)
    for each in found:
        assert set(each.seconds) == {OURS, *PEERS} and not each.wrong
        assert all(seconds > 0 for seconds in each.seconds.values())
        assert each.speed_up == min(each.seconds[name] for name in PEERS) / each.seconds[OURS]


def test_a_wrong_layer_of_ours_is_named_and_not_timed(monkeypatch):
    monkeypatch.setattr(
        rivals, "hyperconv_layer", lambda input, weight, bias, *rest: grouped(input, weight, 2 * bias, *rest)
    )
    found = next(compare(LAYER, "float32", CPU, 0.01))
    assert set(found.seconds) == set(PEERS) and found.speed_up is None
    assert "relative error" in found.wrong[OURS]


def test_where_nothing_runs_nothing_is_timed(monkeypatch):
    def broken(*_):
        raise RuntimeError("not here")

    monkeypatch.setattr(rivals, "hyperconv_layer", broken)
    monkeypatch.setattr(rivals, "PEERS", dict.fromkeys(PEERS, broken))
    found = next(compare(LAYER, "float32", CPU, 0.01))
    assert found.seconds == {} and found.best_peer is None and found.speed_up is None
    assert set(found.wrong.values()) == {"RuntimeError: not here"}


def test_the_best_peer_is_the_quickest():
    found = Comparison(LAYER, "forward", {OURS: 2.0, "grouped": 3.0, "loop": 1.0}, {})
    assert found.best_peer == "loop" and found.speed_up == 0.5


def test_switches_of_precision_are_set_back():
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [switch.fp32_precision for switch in switches]
    next(compare(LAYER, "float32", CPU, 0.01)), list(compare(LAYER, "float32", CPU, 0.01))
    assert [switch.fp32_precision for switch in switches] == before

"""`hyperconv bench` on a GPU: every rival is right and timed, in every arithmetic."""

import pytest
import torch

from hyperconv.bench.compare import compare
from hyperconv.bench.layer import Layer
from hyperconv.bench.peers import PEERS
from hyperconv.bench.phases import PHASES, TOLERANCE
from hyperconv.bench.rivals import OURS


@pytest.mark.parametrize("arithmetic", TOLERANCE)
def test_a_layer_beside_every_peer(arithmetic):
    found = list(compare(Layer(3, 16, 24, 20, 4), arithmetic, torch.device("cuda"), 0.05))
    assert [each.phase for each in found] == list(PHASES)
    for each in found:
        assert not each.wrong and set(each.seconds) == {OURS, *PEERS}
        assert all(seconds > 0 for seconds in each.seconds.values())

"""torch.utils.flop_counter counts the operators as it counts PyTorch's own convolutions."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hyperconv import HyperConv2d


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("geometry", [{}, {"stride": 2, "padding": 1}, {"padding": "same", "dilation": 2}])
def test_forward_and_backward_count_as_conv2d(geometry, bias):
    counts = []
    for kind in (HyperConv2d, nn.Conv2d):
        layer = kind(4, 6, 3, bias=bias, **geometry)
        with FlopCounterMode(display=False) as counter:
            output = layer(torch.randn(2, 4, 9, 8, requires_grad=True))
        forward = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            output.sum().backward()
        counts.append((forward, counter.get_total_flops()))
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0


def test_weights_of_every_sample_cost_what_shared_ones_do():
    layer, x = HyperConv2d(4, 6, 3, groups=2, activation="relu"), torch.randn(2, 4, 9, 8)
    with FlopCounterMode(display=False) as counter:
        layer(x, torch.randn(2, 6, 2, 3, 3, requires_grad=True)).sum().backward()
    assert counter.get_total_flops() == 2 * (2 * 2 * 6 * 7 * 6 * 2 * 9)

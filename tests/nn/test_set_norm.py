import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.nn.set_norm import batch_norm_sets


@settings(max_examples=15)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans())
def test_each_part_by_itself(sets, samples, channels, shared, training):
    source = torch.Generator().manual_seed(sets * 100 + samples * 10 + channels)
    x = torch.randn(sets * samples, channels, 3, 2, generator=source, dtype=torch.float64)
    weight, bias = torch.randn(2, 1 if shared else sets, channels, generator=source, dtype=torch.float64)
    mean, var = torch.rand(2, sets, channels, generator=source, dtype=torch.float64)
    kept = [(mean[i].clone(), var[i].clone()) for i in range(sets)]
    expected = [
        F.batch_norm(part, *kept[i], weight[i % len(weight)], bias[i % len(bias)], training)
        for i, part in enumerate(x.chunk(sets))
    ]
    output = batch_norm_sets(x, sets, weight, bias, mean, var, training)
    torch.testing.assert_close(output, torch.cat(expected))
    torch.testing.assert_close(mean, torch.stack([own for own, _ in kept]))
    torch.testing.assert_close(var, torch.stack([own for _, own in kept]))


@pytest.mark.parametrize("shared", [False, True])
def test_gradients(shared):
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    affine = [torch.randn(1 if shared else 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *args: batch_norm_sets(args[0], 2, *args[1:]), (x, *affine))
    assert torch.autograd.gradgradcheck(lambda *args: batch_norm_sets(args[0], 2, *args[1:]), (x, *affine))

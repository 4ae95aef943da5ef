import copy

import pytest
import torch

from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.nn.sources import FreeWeights

LAYOUT = WeightLayout({"0.weight": (16, 8, 3, 3), "0.bias": (16,), "1.weight": (3, 16, 1, 1)})


def test_starts_as_he_with_zero_biases():
    torch.manual_seed(0)
    weights = FreeWeights(LAYOUT, 64).weights()
    assert weights["0.weight"].std().item() == pytest.approx((2 / 72) ** 0.5, rel=0.02)
    assert weights["1.weight"].std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.05)
    assert not weights["0.bias"].any()


def test_std_overrides_single_tensors():
    torch.manual_seed(0)
    weights = FreeWeights(LAYOUT, 64, std={"0.weight": 0.02, "0.bias": 0.1}).weights()
    assert weights["0.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    assert weights["0.bias"].std().item() == pytest.approx(0.1, rel=0.1)
    assert weights["1.weight"].std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.05)


def test_all_sets_come_without_a_copy_and_chosen_ones_by_index():
    source = FreeWeights(LAYOUT, 5)
    assert source.weights().flat is source.flat
    chosen = source.weights(torch.tensor([4, 1, 4]))
    assert torch.equal(chosen.flat, source.flat[[4, 1, 4]])
    chosen["0.bias"].sum().backward()
    rows = source.flat.grad[:, LAYOUT.offsets["0.bias"]]
    assert rows.tolist() == [0, 1, 0, 0, 2]


def test_copies_of_generated_weights_are_leaves_of_their_own():
    generated = WeightSet(LAYOUT, torch.randn(2, LAYOUT.size, dtype=torch.float64, requires_grad=True) * 2)
    source = FreeWeights.from_weight_set(generated)
    assert torch.equal(source.flat, generated.flat) and source.flat.dtype == torch.float64
    assert source.flat.is_leaf and source.flat.data_ptr() != generated.flat.data_ptr()
    assert [name for name, _ in source.named_parameters()] == ["flat"]


def test_state_dict_and_deepcopy():
    source, other = FreeWeights(LAYOUT, 3), FreeWeights(LAYOUT, 3)
    other.load_state_dict(source.state_dict())
    assert torch.equal(other.flat, source.flat)
    assert torch.equal(copy.deepcopy(source)(slice(1, 2)).flat, source.flat[1:2])


def test_errors():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        FreeWeights(LAYOUT, 0)
    with pytest.raises(ValueError, match="called 2.weight"):
        FreeWeights(LAYOUT, 1, std={"2.weight": 1.0})

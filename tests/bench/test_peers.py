"""The peers compute what they are compared on, and a wrong one would be found."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.bench.layer import Layer, problem
from hyperconv.bench.peers import PEERS, grouped
from hyperconv.bench.phases import PHASES, TOLERANCE, errors
from hyperconv.bench.rivals import OURS, check, rivals

small_layers = st.builds(
    Layer,
    in_channels=st.integers(1, 4),
    out_channels=st.integers(1, 4),
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    batch=st.integers(1, 5),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", PEERS)
@settings(max_examples=10, deadline=None)
@given(layer=small_layers, seed=st.integers(0, 1000))
def test_peer_is_exact_in_float64(name, phase, layer, seed):
    p = problem(layer, torch.float64, "cpu", seed)
    assert max(errors(phase, PHASES[phase](PEERS[name], p), p).values()) < TOLERANCE["float64"]


@pytest.mark.parametrize("phase", PHASES)
def test_every_rival_is_right_in_float32(phase):
    p = problem(Layer(3, 8, 9, 7, 4), torch.float32, "cpu")
    right, wrong = check(rivals(phase, "cpu"), phase, p, "float32")
    assert {*PEERS, OURS, f"{OURS}-reference"} <= set(right)
    assert all("cannot run" in reason for reason in wrong.values())


def test_a_wrong_rival_is_not_timed():
    p = problem(Layer(3, 8, 9, 7, 4), torch.float32, "cpu")
    runs = {
        "grouped": partial(PHASES["forward"], grouped),
        "wrong": partial(PHASES["forward"], swapped_weights),
    }
    right, wrong = check(runs, "forward", p, "float32")
    assert set(right) == {"grouped"}
    assert "relative error" in wrong["wrong"] and "'output'" in wrong["wrong"]


def swapped_weights(input, weight, bias, *geometry):
    return grouped(input, weight.roll(1, 0), bias, *geometry)


def forgotten_bias(input, weight, bias, *geometry):
    return grouped(input, weight, 0 * bias, *geometry)


def slightly_wrong_slope(input, weight, bias, *geometry):
    output = grouped(input, weight, bias, *geometry)
    return torch.where(output > 0, output, 0.9 * output)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("wrong", [swapped_weights, forgotten_bias, slightly_wrong_slope])
def test_a_wrong_layer_is_found(wrong, phase):
    p = problem(Layer(3, 4, 8, 8, 4), torch.float64, "cpu")
    assert max(errors(phase, PHASES[phase](wrong, p), p).values()) > 10 * TOLERANCE["float32"]


def test_a_wrong_gradient_is_found():
    p = problem(Layer(3, 4, 8, 8, 2), torch.float64, "cpu")
    results = PHASES["backward"](grouped, p)
    results["weight"] = results["weight"].flip(-1)
    found = errors("backward", results, p)
    assert found["weight"] > 0.1 and found["input"] < TOLERANCE["float64"]


def test_nan_is_no_small_error():
    p = problem(Layer(3, 4, 8, 8, 2), torch.float32, "cpu")
    results = PHASES["forward"](grouped, p)
    results["output"][0, 0, 0, 0] = float("nan")
    assert not errors("forward", results, p)["output"] <= TOLERANCE["bfloat16"]


def test_operations_and_bytes_of_a_layer():
    layer = Layer(2, 3, 5, 7, 4)
    assert layer.forward_operations == 2 * (4 * 5 * 7) * 2 * 3 * 9
    assert layer.bytes_moved(4) == 4 * ((4 * 5 * 7) * (2 + 3) + 4 * 3 * (2 * 9 + 1))


def test_operations_and_bytes_of_a_layer_with_a_stride():
    layer = Layer(2, 3, 8, 6, 4, kernel=4, stride=2)
    assert layer.padding == 1 and layer.output_size == (4, 3)
    assert layer.forward_operations == 2 * (4 * 4 * 3) * 2 * 3 * 16
    assert layer.bytes_moved(4) == 4 * (4 * 8 * 6 * 2 + 4 * 4 * 3 * 3 + 4 * 3 * (2 * 16 + 1))
    assert problem(layer, torch.float32, "cpu").cotangent.shape == (4, 3, 4, 3)

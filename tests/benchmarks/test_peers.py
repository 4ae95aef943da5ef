"""The peers compute what they are compared on, and a wrong one would be found."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.layers import Layer, layers, problem
from benchmarks.peers import PEERS, grouped
from benchmarks.phases import PHASES, TOLERANCE, errors
from benchmarks.rivals import OURS, check, rivals

small_layers = st.builds(
    Layer, st.integers(1, 4), st.integers(1, 4), st.integers(3, 7), st.integers(3, 7), st.integers(1, 5)
)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", PEERS)
@settings(max_examples=10, deadline=None)
@given(layer=small_layers, seed=st.integers(0, 1000))
def test_peer_is_exact_in_float64(name, phase, layer, seed):
    p = problem(layer, torch.float64, "cpu", seed)
    assert max(errors(phase, PHASES[phase](PEERS[name], p), p).values()) < TOLERANCE["fp64"]


@pytest.mark.parametrize("phase", PHASES)
def test_every_rival_is_right_in_float32(phase):
    p = problem(Layer(3, 8, 9, 7, 4), torch.float32, "cpu")
    right, wrong = check(rivals(phase, "cpu"), phase, p, "fp32")
    assert {*PEERS, OURS, f"{OURS}-reference"} <= set(right)
    assert all("cannot run" in reason for reason in wrong.values())


def test_a_wrong_rival_is_not_timed():
    p = problem(Layer(3, 8, 9, 7, 4), torch.float32, "cpu")
    runs = {
        "grouped": partial(PHASES["forward"], grouped),
        "wrong": partial(PHASES["forward"], swapped_weights),
    }
    right, wrong = check(runs, "forward", p, "fp32")
    assert set(right) == {"grouped"}
    assert "relative error" in wrong["wrong"] and "'output'" in wrong["wrong"]


def swapped_weights(input, weight, bias):
    return grouped(input, weight.roll(1, 0), bias)


def forgotten_bias(input, weight, bias):
    return grouped(input, weight, 0 * bias)


def slightly_wrong_slope(input, weight, bias):
    output = grouped(input, weight, bias)
    return torch.where(output > 0, output, 0.9 * output)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("wrong", [swapped_weights, forgotten_bias, slightly_wrong_slope])
def test_a_wrong_layer_is_found(wrong, phase):
    p = problem(Layer(3, 4, 8, 8, 4), torch.float64, "cpu")
    assert max(errors(phase, PHASES[phase](wrong, p), p).values()) > 10 * TOLERANCE["fp32"]


def test_a_wrong_gradient_is_found():
    p = problem(Layer(3, 4, 8, 8, 2), torch.float64, "cpu")
    results = PHASES["backward"](grouped, p)
    results["weight"] = results["weight"].flip(-1)
    found = errors("backward", results, p)
    assert found["weight"] > 0.1 and found["input"] < TOLERANCE["fp64"]


def test_nan_is_no_small_error():
    p = problem(Layer(3, 4, 8, 8, 2), torch.float32, "cpu")
    results = PHASES["forward"](grouped, p)
    results["output"][0, 0, 0, 0] = float("nan")
    assert not errors("forward", results, p)["output"] <= TOLERANCE["bf16"]


def test_the_full_list_holds_the_quick_one():
    for device, batches in (("cpu", {1, 4, 8, 16}), ("cuda", {1, 4, 8, 16, 64})):
        full = layers(device, full=True)
        assert set(layers(device, full=False)) < set(full)
        assert len(full) == len(set(full)) == 6 * 5 * len(batches)
        assert {layer.batch for layer in full} == batches


def test_operations_and_bytes_of_a_layer():
    layer = Layer(2, 3, 5, 7, 4)
    assert layer.forward_operations == 2 * (4 * 5 * 7) * 2 * 3 * 9
    assert layer.bytes_moved(4) == 4 * ((4 * 5 * 7) * (2 + 3) + 4 * 3 * (2 * 9 + 1))

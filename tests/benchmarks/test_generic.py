"""The generic tools' benchmark: its peers compute the same, a wrong one would be found, and its table can be read."""

import pytest
import torch

from benchmarks.generic import checked, measure, report
from benchmarks.generic_cases import Case, drop_in_cases, gradient_cases, hyperize_cases, modulated_cases
from hyperconv.bench.rivals import OURS

CASES = {"hyperize": hyperize_cases, "modulated_conv2d": modulated_cases, "per_sample_gradients": gradient_cases}
PEERS = {
    "hyperize": {"vmap", "loop"},
    "modulated_conv2d": {"grouped", "loop"},
    "per_sample_gradients": {"vmap(grad)", "loop", "expanded weights"},
}


@pytest.mark.parametrize("tool", CASES)
def test_every_peer_is_right(tool):
    right, _ = checked(next(CASES[tool](1, "cpu")))
    assert {OURS, *PEERS[tool]} <= set(right)  # and of the packages those that are installed


def test_enlarging_peers_are_right():
    case = [case for case in modulated_cases(1, "cpu") if "up 2" in case.name][-2]
    right, wrong = checked(case)
    assert set(right) == {OURS, "grouped", "loop"} and case.phase == "forward + backward" and not wrong


def test_ordinary_networks_are_the_same_with_these_layers():
    for case in drop_in_cases(1, "cpu"):
        right, wrong = checked(case)
        assert set(right) == {OURS, "nn.Conv2d"} and not wrong


def test_what_is_wrong_is_not_timed_and_the_report_says_why():
    exact = torch.tensor([1.0, 2.0])
    rivals = {
        OURS: lambda: {"y": exact},
        "peer": lambda: {"y": exact.clone()},
        "wrong": lambda: {"y": exact + 1},
        "broken": lambda: 1 / 0,
    }
    row = measure(Case("hyperize", "net", "forward", rivals, lambda: {"y": exact.double()}), "cpu", 0.01)
    assert set(row["seconds"]) == {OURS, "peer"}
    text = report({"environment": {"cpu": "x"}, "batch": 2, "absent": ["Opacus"], "rows": [row]}, least=False)
    assert "- Opacus: not installed" in text
    assert "- wrong, net, forward: relative error" in text and "- broken, net, forward: ZeroDivisionError" in text
    with pytest.raises(SystemExit, match="nothing is timed"):
        checked(Case("hyperize", "net", "forward", {OURS: rivals["wrong"]}, lambda: {"y": exact.double()}))

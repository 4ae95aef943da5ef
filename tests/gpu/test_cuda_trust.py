"""`auto` on a GPU: Triton's kernels once they are checked here, the reference where a check could break something."""

import types

import pytest
import torch
from each_sample import Settings, each_sample, random_layer, relative_error

from hyperconv import backends, hyper_conv2d, use_backend
from hyperconv.ops import backends as choice
from hyperconv.ops import ledger, reference, selftest, trust
from hyperconv.ops.schema import OPERATIONS

OPTIONS = Settings(padding=(1, 1), activation="relu")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    """As on a machine where nothing was ever checked; skips where Triton does not run."""
    reason = backends()["triton"]["cuda"]
    if reason is not None:
        pytest.skip(f"triton: {reason}")
    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path))
    monkeypatch.setattr(choice, "_decided", {})
    monkeypatch.setattr(choice, "results", types.SimpleNamespace(RESULTS={}, FASTEST={}))
    monkeypatch.setattr(trust, "_verdicts", {})
    monkeypatch.setattr(trust, "_warned", set())
    monkeypatch.setattr(ledger, "_read", {})
    with use_backend("auto"):
        yield


def chosen():
    return set(choice._decided.values())


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_training_step_earns_trust_on_the_way(device):
    input, weight, bias = (t.requires_grad_() for t in random_layer(device, 4, 2, (3, 32), (40, 40)))
    state = torch.cuda.get_rng_state()
    output = hyper_conv2d(input, weight, bias, **OPTIONS.arguments())
    output.sum().backward()
    assert chosen() == {"triton"}
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert len(ledger.outcomes(input.device)) == 3
    torch.testing.assert_close(output, each_sample(input, weight, bias, OPTIONS))


def test_a_graph_captured_too_early_takes_the_reference(device):
    input, weight, bias = random_layer(device, 4, 2, (3, 16), (40, 40))
    with use_backend("reference"):
        hyper_conv2d(input, weight, bias, **OPTIONS.arguments())
    graph = torch.cuda.CUDAGraph()
    with pytest.warns(RuntimeWarning, match="a CUDA graph is being captured"), torch.cuda.graph(graph):
        output = hyper_conv2d(input, weight, bias, **OPTIONS.arguments())
    graph.replay()
    torch.testing.assert_close(output, each_sample(input, weight, bias, OPTIONS))
    assert chosen() == set()
    hyper_conv2d(input, weight, bias, **OPTIONS.arguments())
    assert chosen() == {"triton"}


def test_a_wrong_kernel_is_not_used(device, monkeypatch):
    wrong = types.SimpleNamespace(conv2d=lambda *args: 1.1 * reference.conv2d(*args))
    monkeypatch.setattr(trust, "kernels", wrong)
    input, weight, bias = random_layer(device, 4, 2, (3, 16), (40, 40))
    with pytest.warns(RuntimeWarning, match=r"conv2d of class .* a wrong result"):
        output = hyper_conv2d(input, weight, bias, **OPTIONS.arguments())
    assert chosen() == {"reference"}
    torch.testing.assert_close(output, each_sample(input, weight, bias, OPTIONS))


def test_a_side_stream_and_autocast_do_not_reach_the_check(device):
    input, weight, bias = random_layer(device, 4, 2, (3, 16), (40, 40), dtype=torch.float32)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.autocast("cuda", torch.bfloat16):
        output = hyper_conv2d(input, weight, bias, **OPTIONS.arguments())
    stream.synchronize()
    assert output.dtype == torch.bfloat16 and chosen() == {"triton"}
    exact = each_sample(input, weight, bias, OPTIONS)
    assert relative_error(output, exact.double()) < 1e-2


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("arithmetic", ["bfloat16", "tf32"])
@pytest.mark.parametrize("backend", ["triton", "native"])
def test_selftest_of_a_gpu(device, backend, arithmetic, operation, monkeypatch):
    monkeypatch.setattr(selftest, "OPERATIONS", (operation,))
    where = torch.device(device, 0)
    if not selftest.here(where, [backend]):
        pytest.skip(f"{backend}: {backends()[backend]['cuda']}")
    found = list(selftest.selftest(backend, where, [arithmetic]))
    assert not [
        f"{check.trial}: {check.outcome.problem}, {check.outcome}" for check in found if not check.outcome.passed
    ]
    assert len(ledger.outcomes(where)) == (len(found) if backend == "triton" else 0)

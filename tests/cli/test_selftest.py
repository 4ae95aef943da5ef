"""`hyperconv selftest`: what it prints and writes, and its exit code where a kernel is wrong."""

import json
import os
import re
import types

import pytest
import torch

from hyperconv.ops import ledger, reference, selftest
from hyperconv.ops.backends import backends
from hyperconv.ops.schema import OPERATIONS

LINE = re.compile(
    r"^native +cpu +(\w+) +(\S+) +float32 +([\d.e+-]+) +([\d.e+-]+) +[\d.]+  (ok|WRONG: .*)$", re.MULTILINE
)
QUICK = ("selftest", "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def native_is(monkeypatch):
    """native_is(module): what computes where the native backend is asked for."""

    def replace(**functions):
        module = types.SimpleNamespace(**{name: getattr(reference, name) for name in OPERATIONS} | functions)
        monkeypatch.setitem(selftest.MODULES, "native", module)
        found = backends()
        found["native"]["cpu"] = None
        monkeypatch.setattr(selftest, "backends", lambda: found)

    return replace


def test_the_processor_passes(hyperconv):
    reason = backends()["native"]["cpu"]
    if reason and os.environ.get("HYPERCONV_ALLOW_NO_NATIVE") == "1":
        pytest.skip(f"HYPERCONV_ALLOW_NO_NATIVE=1 and {reason}")
    answer = hyperconv(*QUICK)
    assert answer.code == 0 and answer.error == ""
    lines = LINE.findall(answer.out)
    assert {operation for operation, *_ in lines} == set(OPERATIONS)
    assert all(verdict == "ok" and float(error) < 1e-5 for _, _, error, _, verdict in lines)
    assert f"all {len(lines)} checks passed" in answer.out


def test_what_a_bug_report_needs_is_printed(hyperconv, native_is):
    native_is()
    answer = hyperconv(*QUICK)
    for word in ("hyperconv  ", "system  ", f"torch        {torch.__version__}", "triton  ", "native cuda"):
        assert word in answer.out


def test_a_wrong_kernel_is_named_and_fails(hyperconv, native_is, tmp_path):
    native_is(
        bias_gradient=lambda *args: 1.01 * reference.bias_gradient(*args), masked_conv2d=lambda *args: {}["no kernel"]
    )
    answer = hyperconv(*QUICK, "--json", tmp_path / "report.json")
    assert answer.code == 1
    assert re.search(r"bias_gradient .* 1\.0e-02 .*WRONG: a wrong result", answer.out)
    assert re.search(r"masked_conv2d .* - +- +-  WRONG: KeyError: 'no kernel'", answer.out)
    assert "checks went wrong" in answer.out and "all " not in answer.out.splitlines()[-1]
    report = json.loads((tmp_path / "report.json").read_text())
    wrong = {check["operation"] for check in report["checks"] if not check["passed"]}
    assert wrong == {"bias_gradient", "masked_conv2d"} and report["passed"] is False


def test_the_file_holds_it_all(hyperconv, native_is, tmp_path):
    native_is()
    answer = hyperconv(*QUICK, "--dtype", "bfloat16", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] is report["finished"] is True and report["environment"]["torch"].startswith(
        torch.__version__
    )
    assert f"all {len(report['checks'])} checks passed" in answer.out
    for check in report["checks"]:
        assert (check["backend"], check["device"]) == ("native", "cpu")
        assert check["dtype"] in ("float32", "bfloat16") and check["class"].count("/") == 4
        assert 0 <= check["error"] <= check["bound"] and check["milliseconds"] > 0


def test_an_interrupted_run_keeps_what_it_has(hyperconv, native_is, tmp_path):
    def interrupted(*args):
        raise KeyboardInterrupt

    native_is(parameter_gradients=interrupted)
    answer = hyperconv(*QUICK, "--json", tmp_path / "report.json")
    assert answer.code == 130 and "interrupted" in answer.error
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["finished"] is report["passed"] is False and len(report["checks"]) > 10


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the kernels are not interpreted")
def test_triton_in_the_interpreter_when_asked_for(hyperconv, monkeypatch):
    monkeypatch.setattr(selftest, "OPERATIONS", ("weight_gradient",))
    answer = hyperconv("selftest", "--backend", "triton", "--device", "cpu", "--dtype", "float64")
    assert answer.code == 0
    assert "triton  cpu     weight_gradient      accumulate/thin/" in answer.out and "native  " not in answer.out


def test_the_switch_for_tf32_is_left_as_it_was(hyperconv, native_is):
    native_is()
    before = torch.backends.cudnn.conv.fp32_precision
    hyperconv(*QUICK)
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_bad_use(hyperconv, monkeypatch):
    assert hyperconv("selftest", "--device", "cuda:77").complains("--device is 'cuda:77'", "cpu")
    assert hyperconv("selftest", "--dtype", "int8").code == 2
    nothing = backends()
    nothing["native"]["cpu"] = "not built"
    monkeypatch.setattr(selftest, "backends", lambda: nothing)
    monkeypatch.setattr("hyperconv.cli.selftest.backends", lambda: nothing)
    answer = hyperconv("selftest", "--backend", "native", "--device", "cpu")
    assert answer.complains("nothing to check", "native does not run on cpu: not built")


def test_help_teaches_by_example(hyperconv):
    answer = hyperconv("selftest", "--help")
    assert answer.code == 0 and "hyperconv selftest --device cuda" in answer.out


def test_info_says_what_ran_on_which_gpu(hyperconv, monkeypatch):
    monkeypatch.setattr("hyperconv.ops.results.RESULTS", {})
    assert "triton cuda          no committed result for any GPU yet" in hyperconv("info").out
    monkeypatch.setattr("hyperconv.ops.results.RESULTS", {"9.0": "h200.json"})
    assert "triton cuda          committed results for 9.0 (h200.json)" in hyperconv("info").out


def test_info_says_what_was_checked_on_this_gpu(hyperconv, monkeypatch, tmp_path):
    gpu = types.SimpleNamespace(name="Some GPU", major=9, minor=0, total_memory=2**30)
    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    monkeypatch.setattr(ledger, "setting", lambda device: {"device": "Some GPU"})
    monkeypatch.setattr(ledger, "_read", {})
    assert "GPU 0 checks         none yet" in hyperconv("info").out
    device = torch.device("cuda", 0)
    ledger.note(device, "conv2d a/class", selftest.Outcome(0.1, 0.1, 0.2))
    ledger.note(device, "conv2d another", selftest.Outcome(0.9, 0.1, 0.2, "a wrong result"))
    said = hyperconv("info").out
    assert f"2 classes of kernels checked, 1 of them wrong; {ledger.path(device)}" in said
    assert "GPU 0 wrong          conv2d another: a wrong result" in said

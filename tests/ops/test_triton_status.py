"""Where Triton's kernels run, and one line for each reason that they do not."""

import sys

import pytest
import torch

from hyperconv.ops.backends import backends


def reason(device):
    return backends()["triton"][device]


def gpus(monkeypatch, *capabilities):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=0: capabilities[index])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_absent(monkeypatch, device):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert reason(device) == "Triton is not installed; install triton 3.6 or later"


@pytest.mark.parametrize(
    "error", [ImportError("libtriton.so: undefined symbol\nmore"), ModuleNotFoundError("no psutil", name="psutil")]
)
def test_does_not_load(monkeypatch, error):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "triton":
                raise error

    monkeypatch.delitem(sys.modules, "triton")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert reason("cuda") == f"Triton does not load: {str(error).splitlines()[0]}"


@pytest.mark.parametrize("version", ["3.5.1", "2.3.0", "3.5.0+git1234"])
def test_too_old(monkeypatch, version):
    monkeypatch.setattr("triton.__version__", version)
    assert reason("cpu") == reason("cuda") == f"this is Triton {version}, and the kernels need 3.6 or later"


@pytest.mark.parametrize("version", ["3.6.0", "3.10.0", "4.0.0", "3.6.0+git1234"])
def test_new_enough(monkeypatch, version):
    monkeypatch.setattr("triton.__version__", version)
    gpus(monkeypatch, (9, 0))
    assert reason("cuda") is None


def test_cpu_without_the_interpreter(monkeypatch):
    monkeypatch.setattr("hyperconv.kernels.launch.INTERPRETED", False)
    assert reason("cpu") == "Triton's kernels run on GPUs; TRITON_INTERPRET=1 runs them on the CPU, slowly, for tests"
    monkeypatch.setattr("hyperconv.kernels.launch.INTERPRETED", True)
    assert reason("cpu") is None


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert reason("cuda") == f"torch {torch.__version__} sees no CUDA GPU"


@pytest.mark.parametrize("capability", [(7, 5), (7, 0)])
def test_gpu_too_old(monkeypatch, capability):
    gpus(monkeypatch, (6, 1), capability)
    here = "{}.{}".format(*capability)
    assert reason("cuda") == f"the kernels need a GPU of compute capability 8.0 or later, and here is {here}"


def test_one_of_several_gpus_is_enough(monkeypatch):
    gpus(monkeypatch, (7, 5), (8, 0))
    assert reason("cuda") is None

"""Every test starts from the same seed, and hypothesis draws the same examples on every machine.

Without a CUDA GPU the Triton kernels run in Triton's interpreter, on CPU tensors. What was tuned or checked on this
machine plays no part.
"""

import atexit
import os
import shutil
import tempfile

import hypothesis
import pytest
import torch
import triton_interpreter
from inception_weights import published_state

os.environ["HYPERCONV_CACHE"] = tempfile.mkdtemp(prefix="hyperconv-tests-")
atexit.register(shutil.rmtree, os.environ["HYPERCONV_CACHE"], ignore_errors=True)

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton reads it as it is imported
    triton_interpreter.repair()

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")

LONGEST = {
    "test_cuda_on_host.py",
    "test_ahead.py",
    "test_triton_against_loop.py",
    "test_stopping.py",
    "test_package.py",
}


def pytest_collection_modifyitems(items):
    """The longest files come first, so that at the end no process works on one while the others are done."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def short_guess(monkeypatch):
    """A meta-GAN's first guess is of a twelfth of the photos; test_first_guess.py and other processes take more."""
    monkeypatch.setattr("hyperconv.gan.first_guess.GROUPS", 2)


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory):
    """Random weights of Inception v3 in a file such as pytorch-fid publishes."""
    path = tmp_path_factory.mktemp("inception") / "pt_inception-random.pth"
    torch.save(published_state(), path)
    return path

"""Every test starts from the same seed, and hypothesis draws the same examples on every machine.

Without a CUDA GPU the Triton kernels run in Triton's interpreter, on CPU tensors.
"""

import os

import hypothesis
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton reads it as it is imported

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)

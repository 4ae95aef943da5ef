"""The memory format of images, in Python's words: what a result gets."""

import torch
from torch import Tensor


def layout(tensor: Tensor) -> torch.memory_format:
    """Of results computed from (N, C, H, W): channels_last where that is channels_last and not contiguous as well.

    Strides of one channel could tell the two apart, but compilers do not keep them.
    """
    last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format

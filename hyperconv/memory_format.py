"""The memory format of images: which one a tensor has, and which one a result gets."""

import torch
from torch import Tensor

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
"""By the names that classes of layers, tables and the command line give them."""


def channels_last(tensor: Tensor) -> bool:
    """Whether channels are neighbours in memory, and pixels are not."""
    _, channel, _, pixel = tensor.stride()
    return channel == 1 != pixel


def layout(tensor: Tensor) -> torch.memory_format:
    """Of results computed from (N, C, H, W): channels_last where that is channels_last and not contiguous as well.

    Strides of one channel could tell the two apart, but compilers do not keep them.
    """
    try:
        last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    except RuntimeError:  # inside vmap, which knows strides alone
        last = channels_last(tensor)
    return torch.channels_last if last else torch.contiguous_format


def laid_out(image: Tensor, layout: torch.memory_format) -> Tensor:
    """(N, C, H, W), contiguous in this memory format."""
    try:
        return image.contiguous(memory_format=layout)
    except RuntimeError:  # inside vmap, which knows one format alone: channels_last is that of (N, H, W, C)
        return image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

"""The memory format of images: what a result gets, and how an image of one channel tells which one it has."""

import torch
from torch import Tensor


def layout(tensor: Tensor) -> torch.memory_format:
    """Of results computed from (N, C, H, W): channels_last where that is channels_last and not contiguous as well.

    An image of one channel is both; it is channels_last where its strides are those of a tensor made so, as they are to
    PyTorch's convolutions.
    """
    last = tensor.is_contiguous(memory_format=torch.channels_last) and (not tensor.is_contiguous() or _says_last(tensor))
    return torch.channels_last if last else torch.contiguous_format


def _says_last(tensor: Tensor) -> bool:
    _, channels, height, width = tensor.shape
    return channels == 1 == tensor.stride(1) and height * width > 1


def saying_last(tensor: Tensor) -> Tensor:
    """A view of images (N, 1, H, W) with the strides of channels_last."""
    return tensor.squeeze(1).unsqueeze(-1).movedim(-1, 1)

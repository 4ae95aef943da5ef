"""What a plan depends on: a call's key, its types, and how wide its indices must be."""

import torch
import triton.language as tl
from torch import Tensor

from hyperconv.kernels.launch import INTERPRETED
from hyperconv.memory_format import layout

DTYPES = {
    torch.float64: tl.float64,
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}


def describe(tensor: Tensor | None) -> tuple | None:
    """All that a kernel's specialisation can read off a tensor."""
    if tensor is None:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.data_ptr() % 16


def matrix_operand(dtype: torch.dtype) -> tl.dtype:
    """The type matrix units multiply; the interpreter knows no bfloat16 products, and float32 ones are the same."""
    return tl.float32 if INTERPRETED and dtype == torch.bfloat16 else DTYPES[dtype]


def total_type(dtype: torch.dtype) -> tl.dtype:
    return tl.float64 if dtype == torch.float64 else tl.float32


def partial_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def index_type(pixels: int, *tensors: Tensor | None) -> tl.dtype:
    """64-bit where an offset inside of a sample, or a pixel's number in its weight set, could pass 2^31."""
    return tl.int32 if max(pixels, *map(reach, tensors)) < 2**31 - 2**16 else tl.int64


def reach(tensor: Tensor | None) -> int:
    """Elements from the first to the last of one sample (or weight set)."""
    if tensor is None or tensor.numel() == 0:
        return 0
    return sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], tensor.stride()[1:], strict=True))


def strides(tensor: Tensor | None, dimensions: int) -> tuple[int, ...]:
    return (0,) * dimensions if tensor is None else tensor.stride()


def new(like: Tensor, *shape: int) -> Tensor:
    """A result in the memory format of the tensor it is computed from."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout(like))

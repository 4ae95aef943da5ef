"""Images made ready for a kernel that reads them once for every tap: times m, in another memory format, or both at once."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hyperconv.kernels import call
from hyperconv.kernels.launch import Launch
from hyperconv.kernels.tiles import gather, offset, sample_start

PIXELS, CHANNELS = 64, 64
"""Of a program's tile: reads are coalesced along one side and writes along the other, through shared memory."""


@triton.jit(do_not_specialize=["size"])
def prepare(
    source,
    mask,
    destination,
    source_strides,
    mask_strides,
    destination_strides,
    channels,
    size,
    MASKED: tl.constexpr,
    SLOPE: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One tile of pixels by channels of one sample."""
    height, width = tl.cast(size[0], INDEX), tl.cast(size[1], INDEX)
    tiles, blocks = tl.cdiv(height * width, BLOCK_P), tl.cdiv(channels, BLOCK_C)
    program = tl.program_id(0)
    sample, rest = program // (tiles * blocks).to(tl.int32), program % (tiles * blocks).to(tl.int32)
    pixel = (rest // blocks).to(INDEX) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    channel = rest % blocks * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    row, column, inside = pixel // width, pixel % width, (pixel < height * width) & (channel < channels)
    values = gather(
        source, source_strides, size, mask, mask_strides, sample, channel, row, column, inside, MASKED, SLOPE, INDEX
    )
    start = sample_start(destination, destination_strides, sample)
    tl.store(start + offset(destination_strides, channel, row, column, INDEX), values, mask=inside)


class Preparation:
    """`run(source, mask)`: the source (N, C, H, W) in the memory format asked for, times m where there is a mask."""

    def __init__(self, source: Tensor, mask: Tensor | None, channels_last: bool, negative_slope: float):
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.masks = mask is not None
        result, channels, size = self.result(source), source.shape[1], tuple(source.shape[2:])
        programs = source.shape[0] * -(-size[0] * size[1] // PIXELS) * -(-channels // CHANNELS)
        arguments = (source.stride(), call.strides(mask, 4), result.stride(), channels, size)
        index = call.index_type(size[0] * size[1], source, mask, result)
        self.launch = Launch(prepare, programs, arguments, (self.masks, negative_slope, index, PIXELS, CHANNELS), 4, 2)

    def result(self, source: Tensor) -> Tensor:
        """What `run` returns, not yet written."""
        return torch.empty(source.shape, dtype=source.dtype, device=source.device, memory_format=self.memory_format)

    def run(self, source: Tensor, mask: Tensor | None) -> Tensor:
        result = self.result(source)
        self.launch(source, mask if self.masks else None, result)
        return result

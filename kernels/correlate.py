"""The kernels of conv2d, masked_conv2d and input_gradient: a correlation of each sample with its own weights.

Along each axis, destination pixel t and tap j read the source at t * step + j * spacing + first. A convolution
has step = stride, spacing = dilation, first = -padding. The input gradient of stride 1 has spacing = -dilation,
first = padding, and the weight's two channel strides exchanged; of a larger stride it is one such correlation
for each residue of the destination (see `operations`). So the three operators are one kernel.

`correlate` multiplies tiles on the matrix units, (P, K) of the source by (K, O) of the weight. `correlate_thin`
adds outer products of a pixel column and a weight row, in the accumulator's own arithmetic: for the few
output channels that would leave a matrix unit idle, and for float64.
"""

import triton
import triton.language as tl

from hyperconv.kernels.tiles import (
    activate,
    apply_mask,
    gather,
    offset,
    pair_blocks,
    pairs,
    pixels,
    sample_start,
    tapped,
)


@triton.jit
def where_am_i(samples, sizes, outputs, groups, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr):
    """(weight set, group, output block, pixel tile) of this program; pixel tiles of a weight block are neighbours."""
    tiles = tl.cdiv(samples * sizes[0] * sizes[1], BLOCK_P)
    blocks = tl.cdiv(outputs, BLOCK_O)
    program = tl.program_id(0)
    rest = program // tiles
    return rest // (blocks * groups), rest // blocks % groups, rest % blocks, program % tiles


@triton.jit
def weights_of(weight, strides, weight_set, group, output, INDEX: tl.constexpr):
    """Pointers (1, O) to the first weight of each output channel; strides are (set, group, out, in, row, column)."""
    return (
        weight + weight_set.to(tl.int64) * strides[0] + (group.to(INDEX) * strides[1] + output.to(INDEX) * strides[2])
    )


@triton.jit
def factor_offset(strides, channel, tap, COLUMNS: tl.constexpr, INDEX: tl.constexpr):
    """From an output channel's first weight to that of an input channel and tap, (1, K)."""
    return channel.to(INDEX) * strides[3] + tap // COLUMNS * strides[4] + tap % COLUMNS * strides[5]


@triton.jit
def finish(
    values,
    destination,
    destination_strides,
    bias,
    bias_strides,
    mask,
    mask_strides,
    weight_set,
    sample,
    channel,
    y,
    x,
    inside,
    exists,
    ACTIVATION: tl.constexpr,
    SLOPE: tl.constexpr,
    MASK: tl.constexpr,
    INDEX: tl.constexpr,
):
    """Bias, activation or mask, and the one write of the result, for pixels `inside` and channels that exist."""
    if bias is not None:
        start = bias + weight_set.to(tl.int64) * bias_strides[0]
        values += tl.load(start + channel * bias_strides[1], mask=exists, other=0.0).to(values.dtype)
    values = activate(values, ACTIVATION, SLOPE)
    inside = inside & exists
    if MASK == 1:
        start = sample_start(mask, mask_strides, sample)
        output = tl.load(start + offset(mask_strides, channel, y, x, INDEX), mask=inside, other=0.0)
        values = apply_mask(values, output, SLOPE)
    start = sample_start(destination, destination_strides, sample)
    pointers = start + offset(destination_strides, channel, y, x, INDEX)
    tl.store(pointers, values.to(destination.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["samples", "groups", "sizes", "source_size", "reach"])
def correlate(
    source,
    weight,
    bias,
    mask,
    destination,
    source_strides,
    weight_strides,
    bias_strides,
    mask_strides,
    destination_strides,
    samples,
    channels,
    outputs,
    groups,
    sizes,
    source_size,
    reach,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FLAT: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SLOPE: tl.constexpr,
    MASK: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """One tile of pixels by output channels of one group.

    MASK is where m multiplies: 0 nowhere, 1 the result, 2 the values read.
    """
    weight_set, group, block, tile = where_am_i(samples, sizes, outputs, groups, BLOCK_P, BLOCK_O)
    sample, row, column, inside = pixels(tile, samples, sizes[0], sizes[1], BLOCK_P, INDEX)
    sample += weight_set * samples
    output = block * BLOCK_O + tl.arange(0, BLOCK_O)[None, :]
    weights = weights_of(weight, weight_strides, weight_set, group, output, INDEX)

    total = tl.zeros((BLOCK_P, BLOCK_O), tl.float32)
    for step in range(pair_blocks(channels, BLOCK_K, ROWS * COLUMNS, FLAT)):
        channel, tap, exists = pairs(step, channels, BLOCK_K, ROWS * COLUMNS, FLAT)
        y, x = tapped(row, column, tap, reach, COLUMNS)
        values = gather(
            source,
            source_strides,
            source_size,
            mask,
            mask_strides,
            sample,
            group * channels + channel,
            y,
            x,
            inside & exists,
            MASK == 2,
            SLOPE,
            INDEX,
        )
        down = factor_offset(weight_strides, channel, tap, COLUMNS, INDEX)
        factors = tl.load(weights + tl.trans(down), mask=tl.trans(exists) & (output < outputs), other=0.0)
        total = tl.dot(values.to(OPERAND), factors.to(OPERAND), total, input_precision=PRECISION)

    finish(
        total,
        destination,
        destination_strides,
        bias,
        bias_strides,
        mask,
        mask_strides,
        weight_set,
        sample,
        group * outputs + output,
        row,
        column,
        inside,
        output < outputs,
        ACTIVATION,
        SLOPE,
        MASK,
        INDEX,
    )


@triton.jit(do_not_specialize=["samples", "groups", "sizes", "source_size", "reach"])
def correlate_thin(
    source,
    weight,
    bias,
    mask,
    destination,
    source_strides,
    weight_strides,
    bias_strides,
    mask_strides,
    destination_strides,
    samples,
    channels,
    outputs,
    groups,
    sizes,
    source_size,
    reach,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SLOPE: tl.constexpr,
    MASK: tl.constexpr,
    TOTAL: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """As `correlate`, BLOCK_K channels at a time unrolled, so that their reads are under way together."""
    weight_set, group, block, tile = where_am_i(samples, sizes, outputs, groups, BLOCK_P, BLOCK_O)
    sample, row, column, inside = pixels(tile, samples, sizes[0], sizes[1], BLOCK_P, INDEX)
    sample += weight_set * samples
    output = block * BLOCK_O + tl.arange(0, BLOCK_O)[None, :]
    weights = weights_of(weight, weight_strides, weight_set, group, output, INDEX)

    total = tl.zeros((BLOCK_P, BLOCK_O), TOTAL)
    for step in range(tl.cdiv(channels, BLOCK_K) * ROWS * COLUMNS):
        tap = step % (ROWS * COLUMNS)
        y, x = tapped(row, column, tap, reach, COLUMNS)
        for lane in tl.static_range(BLOCK_K):
            channel = tl.full((1, 1), step // (ROWS * COLUMNS) * BLOCK_K + lane, tl.int32)
            values = gather(
                source,
                source_strides,
                source_size,
                mask,
                mask_strides,
                sample,
                group * channels + channel,
                y,
                x,
                inside & (channel < channels),
                MASK == 2,
                SLOPE,
                INDEX,
            )
            down = factor_offset(weight_strides, channel, tap, COLUMNS, INDEX)
            factors = tl.load(weights + down, mask=(output < outputs) & (channel < channels), other=0.0)
            total += values.to(TOTAL) * factors.to(TOTAL)

    finish(
        total,
        destination,
        destination_strides,
        bias,
        bias_strides,
        mask,
        mask_strides,
        weight_set,
        sample,
        group * outputs + output,
        row,
        column,
        inside,
        output < outputs,
        ACTIVATION,
        SLOPE,
        MASK,
        INDEX,
    )

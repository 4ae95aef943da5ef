"""The kernels of weight_gradient, parameter_gradients and bias_gradient: sums over the pixels of each weight set.

With a `fixed` tensor read at its own pixels and a `moving` one read where each tap of them reaches,

    total[m, c, tap] = sum over pixels of fixed[m, pixel] * moving[c, pixel * step + tap * spacing + first]

is the weight gradient twice over: fixed is the gradient and moving the input; or, for stride 1, the other way round
with the taps reversed, which flattens the thin side where a layer has few output channels.

Pixels are split into `splits` ranges, each with a total of its own; `combine` adds them in one fixed order, so results
do not change from run to run. The bias gradient is summed on the side, and written by the programs of the first pair tile.
"""

import triton
import triton.language as tl

from hyperconv.kernels.tiles import advanced, gather, pair_blocks, pairs, pixels, tapped


@triton.jit
def my_share(
    rows, channels, groups, splits, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TAPS: tl.constexpr, FLAT: tl.constexpr
):
    """(split, pair block, row block, group, weight set) of this program; pair blocks that read the same pixels are neighbours."""
    blocks_n = pair_blocks(channels, BLOCK_N, TAPS, FLAT)
    blocks_m = tl.cdiv(rows, BLOCK_M)
    program = tl.program_id(0)
    pair_block, rest = program % blocks_n, program // blocks_n
    row_block, rest = rest % blocks_m, rest // blocks_m
    split, rest = rest % splits, rest // splits
    return split, pair_block, row_block, rest % groups, rest // groups


@triton.jit
def pixel_tiles(split, splits, samples, sizes, BLOCK_P: tl.constexpr):
    """First and last (exclusive) pixel tile of a split."""
    tiles = tl.cdiv(samples * sizes[0] * sizes[1], BLOCK_P)
    share = tl.cdiv(tiles, splits)
    return split * share, tl.minimum((split + 1) * share, tiles)


@triton.jit
def keep(
    total,
    bias_total,
    result,
    bias_result,
    result_strides,
    bias_strides,
    split,
    weight_set,
    group,
    rows,
    row,
    channel,
    tap,
    exists,
    pair_block,
    COLUMNS: tl.constexpr,
):
    """Write the (M, N) total and the (M, 1) sums; `result_strides` are (split, set, group, row, channel, tap row, column)."""
    start = result + split.to(tl.int64) * result_strides[0] + weight_set.to(tl.int64) * result_strides[1]
    down = group.to(tl.int64) * result_strides[2] + row.to(tl.int64) * result_strides[3]
    across = channel * result_strides[4] + tap // COLUMNS * result_strides[5] + tap % COLUMNS * result_strides[6]
    inside = (row < rows) & exists
    tl.store(start + down + across, total.to(result.dtype.element_ty), mask=inside)
    if bias_result is not None:
        if pair_block == 0:
            sums = bias_result + split.to(tl.int64) * bias_strides[0] + weight_set.to(tl.int64) * bias_strides[1]
            values = bias_total.to(bias_result.dtype.element_ty)
            tl.store(sums + group * rows + row, values, mask=row < rows)


@triton.jit(do_not_specialize=["samples", "groups", "splits", "sizes", "moving_size", "reach"])
def accumulate(
    fixed,
    moving,
    mask,
    result,
    bias_result,
    fixed_strides,
    moving_strides,
    mask_strides,
    result_strides,
    bias_strides,
    samples,
    rows,
    channels,
    groups,
    splits,
    sizes,
    moving_size,
    reach,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FLAT: tl.constexpr,
    SLOPE: tl.constexpr,
    MASK: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    TOTAL: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """One split's total of a tile of rows by (channel, tap) pairs.

    MASK is where m multiplies: 0 nowhere, 1 the fixed tensor, 2 the moving one. PRECISION None multiplies without
    matrix units, in TOTAL's arithmetic.
    """
    split, pair_block, row_block, group, weight_set = my_share(
        rows, channels, groups, splits, BLOCK_M, BLOCK_N, ROWS * COLUMNS, FLAT
    )
    row = row_block * BLOCK_M + tl.arange(0, BLOCK_M)[None, :]
    channel, tap, exists = pairs(pair_block, channels, BLOCK_N, ROWS * COLUMNS, FLAT)
    if PRECISION is None:
        total = tl.zeros((BLOCK_P, BLOCK_M, BLOCK_N), TOTAL)
    else:
        total = tl.zeros((BLOCK_M, BLOCK_N), TOTAL)
    # Where matrix units multiply, the bias's sums are products with ones: to them little work, to the others none.
    BY_ONES: tl.constexpr = PRECISION == "tf32" or OPERAND != TOTAL
    ones = tl.full((BLOCK_P, 16), 1.0, OPERAND)
    bias_total = tl.zeros((BLOCK_M if BY_ONES else BLOCK_P, 16 if BY_ONES else BLOCK_M), TOTAL)
    first, last = pixel_tiles(split, splits, samples, sizes, BLOCK_P)
    sample, pixel_y, pixel_x, inside = pixels(first, samples, sizes[0], sizes[1], BLOCK_P, INDEX)
    for _ in range(first, last):
        inside = sample < samples
        image = sample + weight_set * samples
        left = gather(
            fixed,
            fixed_strides,
            sizes,
            mask,
            mask_strides,
            image,
            group * rows + row,
            pixel_y,
            pixel_x,
            inside & (row < rows),
            MASK == 1,
            SLOPE,
            INDEX,
        )
        y, x = tapped(pixel_y, pixel_x, tap, reach, COLUMNS)
        right = gather(
            moving,
            moving_strides,
            moving_size,
            mask,
            mask_strides,
            image,
            group * channels + channel,
            y,
            x,
            inside & exists,
            MASK == 2,
            SLOPE,
            INDEX,
        )
        if PRECISION is None:
            total += left.to(TOTAL)[:, :, None] * right.to(TOTAL)[:, None, :]
        else:
            total = tl.dot(tl.trans(left.to(OPERAND)), right.to(OPERAND), total, input_precision=PRECISION)
        if bias_result is not None:
            if BY_ONES:
                bias_total = tl.dot(tl.trans(left.to(OPERAND)), ones, bias_total, input_precision=PRECISION)
            else:
                bias_total += left.to(TOTAL)
        sample, pixel_y, pixel_x = advanced(sample, pixel_y, pixel_x, sizes[0], sizes[1], BLOCK_P)
    if PRECISION is None:
        total = tl.sum(total, 0)
    if BY_ONES:
        bias_total = tl.max(bias_total, 1, keep_dims=True)  # of equal columns
    else:
        bias_total = tl.trans(tl.sum(bias_total, 0, keep_dims=True))
    keep(
        total,
        bias_total,
        result,
        bias_result,
        result_strides,
        bias_strides,
        split,
        weight_set,
        group,
        rows,
        tl.trans(row),
        channel,
        tap,
        exists,
        pair_block,
        COLUMNS,
    )


@triton.jit(do_not_specialize=["weights", "count", "splits"])
def combine(partial, result, bias_result, weights, count, splits, TOTAL: tl.constexpr, BLOCK: tl.constexpr):
    """Add the splits' totals in order: `partial` is (splits, count), `weights` of them the result's, then the bias's."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), TOTAL)
    for _ in range(splits):
        total += tl.load(partial + index, mask=index < count, other=0.0)
        partial += count
    total = total.to(result.dtype.element_ty)
    tl.store(result + index, total, mask=index < weights)
    if bias_result is not None:
        tl.store(bias_result + (index - weights), total, mask=(index >= weights) & (index < count))


@triton.jit(do_not_specialize=["samples", "sizes", "channels"])
def sum_pixels(
    grad,
    mask,
    result,
    grad_strides,
    mask_strides,
    samples,
    sizes,
    channels,
    SLOPE: tl.constexpr,
    MASKED: tl.constexpr,
    TOTAL: tl.constexpr,
    INDEX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The bias gradient of one (weight set, channel)."""
    weight_set, channel = tl.program_id(0) // channels, tl.program_id(0) % channels
    total = tl.zeros((BLOCK, 1), TOTAL)
    for tile in range(tl.cdiv(samples * sizes[0] * sizes[1], BLOCK)):
        sample, y, x, inside = pixels(tile, samples, sizes[0], sizes[1], BLOCK, INDEX)
        sample += weight_set * samples
        total += gather(
            grad, grad_strides, sizes, mask, mask_strides, sample, channel, y, x, inside, MASKED, SLOPE, INDEX
        ).to(TOTAL)
    tl.store(result + tl.program_id(0), tl.sum(tl.sum(total, 1), 0).to(result.dtype.element_ty))

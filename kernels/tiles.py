"""The tile description that every kernel shares: which pixels, which taps and channels, where they lie.

A kernel works on a tile of pixels (rows) and a tile of products (columns): input channels of one tap, or, where
a layer has so few channels that a tile of them would be mostly padding, the flattened pairs (channel, tap).
Pixels run over all samples of one weight set, so that small images fill a tile and share its weights.

Sizes: P pixels, K pairs. Coordinates are (P, 1), taps and channels a scalar and (1, K), or both (1, K); all
else follows by broadcasting. Offsets between samples are 64-bit always, inside of a sample `INDEX` wide.
"""

import triton
import triton.language as tl


@triton.jit
def pixels(tile, samples, height, width, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """(sample, row, column, inside) of pixel tile number `tile`, each (P, 1)."""
    height, width = tl.cast(height, INDEX), tl.cast(width, INDEX)  # a side of 1 is no tensor
    pixel = tl.full((BLOCK, 1), tile, INDEX) * BLOCK + tl.arange(0, BLOCK)[:, None]
    inside = pixel < samples * height * width
    sample = pixel // (height * width)
    position = pixel % (height * width)
    return sample, position // width, position % width, inside


@triton.jit
def advanced(sample, row, column, height, width, STEP: tl.constexpr):
    """(sample, row, column) of the pixels STEP further on: a sum with carries, as divisions cost more than the reads."""
    column += STEP % width
    wraps = column >= width
    column = tl.where(wraps, column - width, column)
    row += STEP // width % height + tl.where(wraps, 1, 0)
    wraps = row >= height
    return sample + STEP // (width * height) + tl.where(wraps, 1, 0), tl.where(wraps, row - height, row), column


@triton.jit
def pairs(block, channels, BLOCK: tl.constexpr, TAPS: tl.constexpr, FLAT: tl.constexpr):
    """(channel, tap, inside) of pair tile number `block`.

    FLAT: 0 of one tap, 1 of all pairs with the taps innermost, 2 of all with the channels innermost.
    """
    lane = tl.arange(0, BLOCK)[None, :]
    if FLAT == 2:
        pair = block * BLOCK + lane
        channel = pair % channels
        tap = pair // channels
        inside = tap < TAPS
    elif FLAT == 1:
        pair = block * BLOCK + lane
        channel = pair // TAPS
        tap = pair % TAPS
        inside = channel < channels
    else:
        blocks = tl.cdiv(channels, BLOCK)
        channel = (block % blocks) * BLOCK + lane
        tap = block // blocks
        inside = channel < channels
    return channel, tap, inside


@triton.jit
def pair_blocks(channels, BLOCK: tl.constexpr, TAPS: tl.constexpr, FLAT: tl.constexpr):
    """How many pair tiles cover all channels and taps."""
    if FLAT > 0:
        return tl.cdiv(channels * TAPS, BLOCK)
    else:
        return tl.cdiv(channels, BLOCK) * TAPS


@triton.jit
def offset(strides, channel, row, column, INDEX: tl.constexpr):
    """Elements from a sample's first to (channel, row, column)."""
    return channel.to(INDEX) * strides[1] + row.to(INDEX) * strides[2] + column.to(INDEX) * strides[3]


@triton.jit
def sample_start(pointer, strides, sample):
    return pointer + sample.to(tl.int64) * strides[0]


@triton.jit
def tapped(row, column, tap, reach, COLUMNS: tl.constexpr):
    """Where a tap of the pixel at (row, column) reads: pixel * step + tap * spacing + first, along both axes."""
    step_y, step_x, spacing_y, spacing_x, first_y, first_x = reach
    y = row * step_y + (tap // COLUMNS) * spacing_y + first_y
    x = column * step_x + (tap % COLUMNS) * spacing_x + first_x
    return y, x


@triton.jit
def within(y, x, size):
    height, width = size
    return (y >= 0) & (y < height) & (x >= 0) & (x < width)


@triton.jit
def widen(values):
    """16-bit values as float32, which every kind of arithmetic knows; others as they are."""
    if values.dtype.is_fp16() or values.dtype.is_bf16():
        return values.to(tl.float32)
    else:
        return values


@triton.jit
def apply_mask(values, output, SLOPE: tl.constexpr):
    """m * values, rounded once. A slope of zero selects: where a ReLU is zero, an infinity is no NaN."""
    wide = widen(values)
    return tl.where(widen(output) > 0, wide, wide * SLOPE if SLOPE != 0 else 0.0).to(values.dtype)


@triton.jit
def gather(
    source,
    strides,
    size,
    mask,
    mask_strides,
    sample,
    channel,
    y,
    x,
    inside,
    MASKED: tl.constexpr,
    SLOPE: tl.constexpr,
    INDEX: tl.constexpr,
):
    """Values of a tensor at (sample, channel, y, x), zero outside of it; times m where `mask` is its own."""
    inside = inside & within(y, x, size)
    start = sample_start(source, strides, sample)
    # Through the first-level cache: the next taps read nearly the same values, which 16-byte copies would else pass by.
    values = tl.load(start + offset(strides, channel, y, x, INDEX), mask=inside, other=0.0, cache_modifier=".ca")
    if MASKED:
        start = sample_start(mask, mask_strides, sample)
        output = tl.load(
            start + offset(mask_strides, channel, y, x, INDEX), mask=inside, other=0.0, cache_modifier=".ca"
        )
        values = apply_mask(values, output, SLOPE)
    return values


@triton.jit
def tanh(x):
    """Within 2 float32 roundings: an odd polynomial near zero, where 1 - 2 / (exp(2x) + 1) would cancel."""
    z = x * x
    p = -5.70498872745e-3 * z + 2.06390887954e-2
    p = p * z - 5.37397155531e-2
    p = p * z + 1.33314422036e-1
    p = p * z - 3.33332819422e-1
    large = 1.0 - 2.0 / (tl.exp(2.0 * tl.abs(x)) + 1.0)
    return tl.where(tl.abs(x) < 0.625, p * z * x + x, tl.where(x < 0, -large, large))


@triton.jit
def activate(values, ACTIVATION: tl.constexpr, SLOPE: tl.constexpr):
    """By the codes of `hyperconv.activations`; NaN stays NaN."""
    if ACTIVATION == 1:
        return tl.where(values < 0, 0.0, values)
    elif ACTIVATION == 2:
        return tl.where(values > 0, values, values * SLOPE)
    elif ACTIVATION == 3:
        return tanh(values)
    else:
        return values

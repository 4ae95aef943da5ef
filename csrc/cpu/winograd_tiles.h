// Images cut into Winograd tiles: copies of an image block with the channels innermost, so that transforms and products
// run over whole vectors of channels, and the way back.
#pragma once

#include "pack.h"
#include "winograd_lines.h"
#include "products.h"

namespace hyperconv::HYPERCONV_ISA {

HYPERCONV_INLINE int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

template <typename T>
HYPERCONV_INLINE int64_t vectors_for(int64_t channels) {
  return (channels + lanes<T> - 1) / lanes<T>;
}

// Sizes of one problem: its images in blocks of tile rows, its channels padded to whole vectors.
template <typename T, int M, int R>
struct Tiling {
  Tiling(int64_t in_channels, int64_t parts, int64_t out_channels, int64_t columns, int64_t block_rows,
         int64_t tiles_at_once)
      : part_in(round_up(in_channels, lanes<T>)),
        in(parts * part_in),
        out(round_up(out_channels, lanes<T>)),
        tile_columns((columns + M - 1) / M),
        tile_rows((block_rows + M - 1) / M),
        input_columns(round_up(tile_columns * M + R - 1, 4)),
        output_columns(round_up(tile_columns * M, 4)),
        tiles(smaller(tiles_at_once, tile_rows * tile_columns)) {}
  // part_in: channels of the input under one part of the kernel; in: under all of them, one after the other.
  int64_t part_in, in, out, tile_columns, tile_rows, input_columns, output_columns, tiles;

  // Elements of a block of inputs and of outputs, the channels innermost, and of what pack_block needs.
  int64_t part_elements() const { return (tile_rows * M + R - 1) * input_columns * part_in; }
  int64_t input_elements() const { return in / part_in * part_elements(); }
  int64_t output_elements() const { return tile_rows * M * output_columns * out; }
  int64_t line_elements() const { return 4 * input_columns; }

  // From one entry to the next of transformed kernels, of transformed tiles: one cache line more than there are
  // elements, so that entries do not meet in one set of the cache.
  int64_t matrix() const { return in * out + cache_line; }
  int64_t slot() const { return tiles * larger(in, out) + cache_line; }
  int64_t matrices() const { return tile_products(M, R) * matrix(); }

 private:
  static constexpr int64_t cache_line = 64 / sizeof(T);
};

// Rows first, first + step, ... and columns likewise of some channels of one sample, as [row][column][padded channels].
struct Block {
  int64_t sample, first_channel, channels, padded_channels;  // a multiple of the lanes
  int64_t first_row, rows, first_column, columns;            // columns: a multiple of four
  int64_t row_step, column_step;
};

// The caches' own prefetching does not follow short rows of many channels.
template <typename S>
HYPERCONV_INLINE void prefetch_row(const S* row, int64_t count) {
  constexpr int64_t line = 64 / sizeof(S);
  for (int64_t i = 0; i < count + line - 1; i += line) __builtin_prefetch(row + i);
}

// Copies a block and masks it; zeros outside the image and in the channels that pad. `lines` has room for four rows.
template <typename S>
void pack_block(Sum<S>* target, const Block& block, const Image& image, const Image& mask, Sum<S>* lines,
                Sum<S> slope) {
  using T = Sum<S>;
  const Inside x(block.first_column, block.column_step, image.size[3], block.columns);
  const int64_t count = x.end - x.begin, pixel = block.padded_channels, row_elements = block.columns * pixel;
  const bool innermost = image.stride[1] == 1 && (!mask.data || mask.stride[1] == 1);
  const auto source = [&](int64_t channel, int64_t row, int axis) {
    const auto position = [&](const int64_t* stride) {
      return block.sample * stride[0] + (block.first_channel + channel) * stride[1] + row * stride[2] +
             x.first * stride[3];
    };
    const int64_t step = axis == 3 ? block.column_step : 1;
    SourceRow<S> result{static_cast<const S*>(image.data) + position(image.stride), step * image.stride[axis], nullptr,
                        step * mask.stride[axis]};
    if (mask.data) result.mask = static_cast<const S*>(mask.data) + position(mask.stride);
    return result;
  };
  fill_zero(lines, 4 * block.columns);
  for (int64_t y = 0; y < block.rows; ++y, target += row_elements) {
    const int64_t row = block.first_row + y * block.row_step;
    if (row < 0 || row >= image.size[2] || count <= 0) {
      fill_zero(target, row_elements);
    } else if (innermost) {
      fill_zero(target, row_elements);
      SourceRow<S> next = source(0, row, 1);
      for (int64_t i = x.begin; i < x.end; ++i, next.data += block.column_step * image.stride[3]) {
        copy_row<S>(target + i * pixel, next, slope, block.channels);
        if (next.mask) next.mask += block.column_step * mask.stride[3];
      }
    } else {
      for (int64_t channel = 0; channel < pixel; channel += channel_group<T>) {
        for (int64_t i = 0; i < channel_group<T>; ++i) {
          T* line = lines + i * block.columns + x.begin;
          if (channel + i >= block.channels) {
            fill_zero(line, count);
            continue;
          }
          const SourceRow<S> next = source(channel + i, row, 3);
          if (next.stride == 1) prefetch_row(next.data + image.stride[2], count);
          if (next.mask && next.mask_stride == 1) prefetch_row(next.mask + mask.stride[2], count);
          copy_row<S>(line, next, slope, count);
        }
        for (int64_t column = 0; column < block.columns; column += 4)
          transpose<T, channel_group<T>, 4>(target + column * pixel + channel, pixel, lines + column, block.columns);
      }
    }
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

// Packing for matrix tiles: rows of bfloat16, which are rounded again where they are masked.
#pragma once

#include "pack.h"
#include "tile.h"

namespace hyperconv::HYPERCONV_ISA {

HYPERCONV_INLINE constexpr int64_t parts_of(int64_t total, int64_t part) { return (total + part - 1) / part; }

inline void copy_dense_row(bfloat16* __restrict target, SourceRow<bfloat16> row, float slope, int64_t count) {
  const bfloat16* __restrict data = row.data;
  const bfloat16* __restrict mask = row.mask;
  if (mask && row.stride == 1 && row.mask_stride == 1) {
    for (int64_t i = 0; i < count; ++i) narrow(target[i], masked<bfloat16>(widen(data[i]), mask[i], slope));
  } else if (mask) {
    for (int64_t i = 0; i < count; ++i)
      narrow(target[i], masked<bfloat16>(widen(data[i * row.stride]), mask[i * row.mask_stride], slope));
  } else if (row.stride == 1) {
    __builtin_memcpy(target, data, count * sizeof(bfloat16));
  } else {
    for (int64_t i = 0; i < count; ++i) target[i] = data[i * row.stride];
  }
}

// The row where it lies, if it can be read so, else a copy of it in `line`.
HYPERCONV_INLINE const bfloat16* dense_row(bfloat16* line, SourceRow<bfloat16> row, float slope, int64_t count) {
  if (!row.mask && row.stride == 1) return row.data;
  copy_dense_row(line, row, slope, count);
  return line;
}

// Channels of a window that is packed for tiles.
struct Channels {
  int64_t sample, first, count;
};

// visit(source, row, position, count) for what lies in the image of every plane of the window: `count` elements of a
// row of the source, and where they go, counted from the start of a channel.
template <typename Visit>
HYPERCONV_INLINE void for_each_row(const Window& window, const Image& image, const Image& mask,
                                   const Channels& channels, int64_t first_row, int64_t rows, const Visit& visit) {
  const int64_t planes = window.row_planes * window.column_planes;
  for (int64_t plane = 0; plane < planes; ++plane) {
    const PlaneSource<bfloat16> source =
        plane_source<bfloat16>(window, plane, image, mask, channels.sample, channels.first, first_row, rows);
    const int64_t count = source.x.end - source.x.begin;
    if (count <= 0) continue;
    for (int64_t y = source.y.begin; y < source.y.end; ++y)
      visit(source, y - source.y.begin, (plane * window.rows + y) * window.pitch + source.x.begin, count);
  }
}

// `rows` rows of the window ([channel][plane][row][pitch]) with zeros outside the image, for the output rows from
// first_row on; `padded` channels, of which those beyond channels.count are zero.
inline void pack_channels(bfloat16* target, const Window& window, const Image& image, const Image& mask,
                          const Channels& channels, int64_t padded, int64_t first_row, int64_t rows, float slope) {
  __builtin_memset(target, 0, padded * window.channel_stride * sizeof(bfloat16));
  for_each_row(window, image, mask, channels, first_row, rows,
               [&](const PlaneSource<bfloat16>& source, int64_t row, int64_t position, int64_t count) {
                 for (int64_t c = 0; c < channels.count; ++c)
                   copy_dense_row(target + c * window.channel_stride + position, source.row(c, row), slope, count);
               });
}

// The same with the channels in pairs, words whose lower half is the even one's: [pair][plane][row][pitch]. `lines` is
// room for three rows.
inline void pack_pairs(uint32_t* target, const Window& window, const Image& image, const Image& mask,
                       const Channels& channels, int64_t pairs, int64_t first_row, int64_t rows, float slope,
                       bfloat16* lines) {
  bfloat16 *const even_line = lines, *const odd_line = lines + window.pitch, *const zeros = lines + 2 * window.pitch;
  __builtin_memset(target, 0, pairs * window.channel_stride * sizeof(uint32_t));
  __builtin_memset(zeros, 0, window.pitch * sizeof(bfloat16));
  for_each_row(window, image, mask, channels, first_row, rows,
               [&](const PlaneSource<bfloat16>& source, int64_t row, int64_t position, int64_t count) {
                 uint32_t* __restrict words = target + position;
                 for (int64_t c = 0; c < channels.count; c += 2, words += window.channel_stride) {
                   const bfloat16* __restrict even = dense_row(even_line, source.row(c, row), slope, count);
                   const bfloat16* __restrict odd =
                       c + 1 < channels.count ? dense_row(odd_line, source.row(c + 1, row), slope, count) : zeros;
                   for (int64_t i = 0; i < count; ++i)
                     words[i] = even[i].bits | static_cast<uint32_t>(odd[i].bits) << 16;
                 }
               });
}

// One row of a tile: `count` elements that lie `stride` apart, two at a time where all 32 are there.
HYPERCONV_INLINE void gather_row(bfloat16* __restrict target, const bfloat16* __restrict source, int64_t stride,
                                 int64_t count) {
  if (count < tile_depth) {
    for (int64_t i = 0; i < count; ++i) target[i] = source[i * stride];
    return;
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < tile_depth; i += 2, source += 2 * stride) {
    const uint32_t both = source[0].bits | static_cast<uint32_t>(source[stride].bits) << 16;
    __builtin_memcpy(target + i, &both, sizeof(both));
  }
}

// A strip of 16 output channels of one set and group: the tile that its sums start from, every row the bias of a
// channel, then the tiles [tap][input channels / 32] of its weights; zeros beyond the channels that there are.
inline void pack_strip(char* target, const Correlation& problem, int64_t set, int64_t group, int64_t first) {
  const int64_t depths = parts_of(problem.in_channels, tile_depth);
  float bias[tile_side];
  pack_bias<bfloat16>(bias, problem, set, group, first, tile_side);
  float* sums = reinterpret_cast<float*>(target);
  for (int64_t i = 0; i < tile_side * tile_side; ++i) sums[i] = bias[i / tile_side];

  target += sizeof(Tile);
  __builtin_memset(target, 0, problem.taps.count * depths * sizeof(Tile));
  const int64_t stride = problem.weight_in_stride, count = smaller(tile_side, problem.out_channels - first);
  const bfloat16* weight = static_cast<const bfloat16*>(problem.weight) + set * problem.weight_set_stride +
                           group * problem.weight_group_stride + first * problem.weight_out_stride;
  for (int64_t m = 0; m < count; ++m, weight += problem.weight_out_stride) {
    bfloat16* row = reinterpret_cast<bfloat16*>(target) + m * tile_depth;
    for (int64_t t = 0; t < problem.taps.count; ++t) {
      const bfloat16* source = weight + problem.taps.weight[t];
      for (int64_t c = 0; c < problem.in_channels; c += tile_depth, row += tile_side * tile_depth)
        gather_row(row, source + c * stride, stride, smaller(tile_depth, problem.in_channels - c));
    }
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

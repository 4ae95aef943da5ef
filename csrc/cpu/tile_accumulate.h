// The weight gradient of bfloat16 images by matrix tiles: rows are channels of `shifted`, columns are channels of
// `fixed`, sums run over 32 pixels at a time. A tap moves the rows of `shifted`, which may start at any pixel, so that
// one copy of each factor serves all taps: pixels of `fixed` in pairs, for the second factor, never move.
//
// 64 x 64 channels, 3 x 3: 144 tiles of sums, taken four at a time through a run of pixels that the first-level cache
// holds: 16 KB of each factor, then 36 KB of sums, for 9 * 8 * 4 products (4608 cycles of AMX).
#pragma once

#include "parallel.h"
#include "tile_pack.h"
#include "winograd_tiles.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int64_t run_pixels = 256;

// Sizes of one problem, its channels padded to whole strips of 16; sums are tiles [tap][strip of shifted][strip of
// fixed], with the channels of `fixed` along the rows.
struct TileGradientShape {
  explicit TileGradientShape(const Accumulation& problem)
      : fixed_strips(parts_of(problem.fixed_channels, tile_side)),
        shifted_strips(parts_of(problem.shifted_channels, tile_side)),
        window(problem.window) {
    // Runs of whole tiles of pixels may read as far beyond a channel's last: zeros there, not another's NaN.
    const int64_t elements = window.row_planes * window.column_planes * window.rows * window.pitch;
    window.channel_stride = (parts_of(elements + tile_depth, tile_depth) | 1) * tile_depth;
    block_pixels = parts_of(problem.block_rows * window.pitch, tile_depth) * tile_depth;
  }
  int64_t fixed_strips, shifted_strips;
  Window window;
  int64_t block_pixels;

  int64_t sum_tiles(int64_t taps) const { return taps * shifted_strips * fixed_strips; }
  int64_t shifted_elements() const { return shifted_strips * tile_side * window.channel_stride; }
  int64_t strip_elements() const { return block_pixels * tile_side; }  // of `fixed`
};

// A run of pixels: where `shifted` starts for a tap, and one or two strips of `fixed`.
struct TileRun {
  const bfloat16* shifted;
  int64_t shifted_stride;
  const bfloat16* fixed;
  int64_t fixed_strip, depths;
};

// M strips of `shifted` by N of `fixed`; the sums of the second strip of `shifted` lie sum_stride tiles further on.
template <int M, int N>
void accumulate_strips(Tiles& tiles, const TileRun& run, Tile* sums, int64_t sum_stride, bool add) {
  const int64_t stride = run.shifted_stride * sizeof(bfloat16);
  Tile* const below = sums + sum_stride;
  if (add) {
    tiles.load<0>(sums, tile_row_bytes);
    if constexpr (N == 2) tiles.load<1>(sums + 1, tile_row_bytes);
    if constexpr (M == 2) tiles.load<2>(below, tile_row_bytes);
    if constexpr (M == 2 && N == 2) tiles.load<3>(below + 1, tile_row_bytes);
  } else {
    tiles.zero<0>(), tiles.zero<1>(), tiles.zero<2>(), tiles.zero<3>();
  }
  const bfloat16 *shifted = run.shifted, *fixed = run.fixed;
  for (int64_t d = 0; d < run.depths; ++d, shifted += tile_depth, fixed += tile_side * tile_depth) {
    tiles.load<4>(shifted, stride);
    tiles.load<6>(fixed, tile_row_bytes);
    tiles.multiply<0, 4, 6>();
    if constexpr (N == 2) {
      tiles.load<7>(fixed + run.fixed_strip, tile_row_bytes);
      tiles.multiply<1, 4, 7>();
    }
    if constexpr (M == 2) {
      tiles.load<5>(shifted + tile_side * run.shifted_stride, stride);
      tiles.multiply<2, 5, 6>();
    }
    if constexpr (M == 2 && N == 2) tiles.multiply<3, 5, 7>();
  }
  tiles.store<0>(sums, tile_row_bytes);
  if constexpr (N == 2) tiles.store<1>(sums + 1, tile_row_bytes);
  if constexpr (M == 2) tiles.store<2>(below, tile_row_bytes);
  if constexpr (M == 2 && N == 2) tiles.store<3>(below + 1, tile_row_bytes);
}

// Adds one block; the first one of a chunk sets the sums.
inline void accumulate_block_by_tiles(Tiles& tiles, const Accumulation& problem, const TileGradientShape& shape,
                                      const bfloat16* shifted, const bfloat16* fixed, int64_t pixels, bool add,
                                      Tile* sums) {
  for (int64_t s = 0; s < shape.shifted_strips; s += 2) {
    for (int64_t f = 0; f < shape.fixed_strips; f += 2) {
      const bool two_shifted = s + 1 < shape.shifted_strips, two_fixed = f + 1 < shape.fixed_strips;
      const auto run = two_shifted ? (two_fixed ? accumulate_strips<2, 2> : accumulate_strips<2, 1>)
                                   : (two_fixed ? accumulate_strips<1, 2> : accumulate_strips<1, 1>);
      for (int64_t p = 0; p < pixels; p += run_pixels) {
        const int64_t depths = smaller(run_pixels, pixels - p) / tile_depth;
        const bfloat16* rows = shifted + s * tile_side * shape.window.channel_stride + p;
        for (int64_t t = 0; t < problem.taps.count; ++t)
          run(tiles,
              {rows + problem.taps.offset[t], shape.window.channel_stride,
               fixed + f * shape.strip_elements() + p * tile_side, shape.strip_elements(), depths},
              sums + (t * shape.shifted_strips + s) * shape.fixed_strips + f, shape.fixed_strips, add || p > 0);
      }
    }
  }
}

// 16 channels of a block of `fixed`, by way of `rows`: [pair of pixels][channel], pairs of bfloat16.
inline void pack_pixel_pairs(bfloat16* target, bfloat16* rows, const Accumulation& problem, const Window& plain,
                             const Channels& channels, int64_t first_row, int64_t row_count, int64_t pixels) {
  pack_channels(rows, plain, problem.fixed, problem.fixed_mask, channels, tile_side, first_row, row_count,
                float(problem.negative_slope));
  for (int64_t channel = 0; channel < tile_side; channel += 4)
    for (int64_t p = 0; p < pixels; p += 8)
      transpose<float, 4, 4>(reinterpret_cast<float*>(target + p * tile_side) + channel, tile_side,
                             reinterpret_cast<const float*>(rows + channel * plain.channel_stride + p),
                             plain.channel_stride / 2);
}

// The blocks [begin, end) of the samples of one set, in order; block = sample of the set * row blocks + row block.
inline void accumulate_chunk_by_tiles(const Accumulation& problem, const TileGradientShape& shape,
                                      const Runtime& runtime, int64_t set, int64_t group, int64_t begin, int64_t end,
                                      Tile* sums) {
  const Window& window = shape.window;
  const int64_t height = problem.fixed.size[2], row_blocks = parts_of(height, problem.block_rows), zero = 0;
  const int64_t samples_per_set = problem.fixed.size[0] / problem.sets;
  const Window plain{1, 1, &zero, &zero, 1, 1, 0, problem.block_rows, window.pitch, shape.block_pixels};
  const int64_t fixed_elements = shape.fixed_strips * shape.strip_elements();
  bfloat16* fixed = static_cast<bfloat16*>(runtime.scratch(
      scratch_block, (fixed_elements + shape.shifted_elements() + shape.strip_elements()) * sizeof(bfloat16)));
  bfloat16 *const shifted = fixed + fixed_elements, *const rows = shifted + shape.shifted_elements();
  Tiles tiles;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t sample = set * samples_per_set + block / row_blocks;
    const int64_t first_row = block % row_blocks * problem.block_rows;
    const int64_t row_count = smaller(problem.block_rows, height - first_row);
    const int64_t pixels =
        parts_of((row_count - 1) * window.pitch + problem.fixed.size[3], tile_depth) * tile_depth;
    for (int64_t strip = 0; strip < shape.fixed_strips; ++strip) {
      const int64_t channel = strip * tile_side;
      pack_pixel_pairs(fixed + strip * shape.strip_elements(), rows, problem, plain,
                       {sample, group * problem.fixed_channels + channel,
                        smaller(tile_side, problem.fixed_channels - channel)},
                       first_row, row_count, pixels);
    }
    pack_channels(shifted, window, problem.shifted, problem.shifted_mask,
                  {sample, group * problem.shifted_channels, problem.shifted_channels},
                  shape.shifted_strips * tile_side, first_row, row_count + window.row_span,
                  float(problem.negative_slope));
    accumulate_block_by_tiles(tiles, problem, shape, shifted, fixed, pixels, block != begin, sums);
  }
}

// The sums of all chunks, in order, for one strip of `fixed`.
inline void store_strip(const Accumulation& problem, const TileGradientShape& shape, const Tile* parts, int64_t set,
                        int64_t group, int64_t strip) {
  const int64_t part_floats = shape.sum_tiles(problem.taps.count) * tile_side * tile_side;
  const int64_t first = strip * tile_side, count = smaller(tile_side, problem.fixed_channels - first);
  bfloat16* result = static_cast<bfloat16*>(problem.result) + set * problem.result_set_stride +
                     group * problem.result_group_stride + first * problem.result_fixed_stride;
  for (int64_t t = 0; t < problem.taps.count; ++t) {
    for (int64_t s = 0; s < problem.shifted_channels; ++s) {
      const Tile* tile = parts + (t * shape.shifted_strips + s / tile_side) * shape.fixed_strips + strip;
      const float* sums = reinterpret_cast<const float*>(tile->bytes) + s % tile_side * tile_side;
      float totals[tile_side] = {};
      for (int64_t chunk = 0; chunk < problem.chunks; ++chunk)
        for (int64_t f = 0; f < tile_side; ++f) totals[f] += sums[chunk * part_floats + f];
      bfloat16* target = result + s * problem.result_shifted_stride + problem.taps.weight[t];
      for (int64_t f = 0; f < count; ++f) narrow(target[f * problem.result_fixed_stride], totals[f]);
    }
  }
}

inline void accumulate_by_tiles(const Accumulation& problem, const Runtime& runtime) {
  const TileGradientShape shape(problem);
  const int64_t row_blocks = parts_of(problem.fixed.size[2], problem.block_rows), chunks = problem.chunks;
  const int64_t blocks = problem.fixed.size[0] / problem.sets * row_blocks, groups = problem.groups;
  const int64_t part = shape.sum_tiles(problem.taps.count), pairs = problem.sets * groups;
  Tile* parts = static_cast<Tile*>(runtime.scratch(scratch_call, pairs * chunks * part * sizeof(Tile)));
  parallel(runtime, pairs * chunks, [&](int64_t unit) {
    const int64_t pair = unit / chunks, chunk = unit % chunks;
    accumulate_chunk_by_tiles(problem, shape, runtime, pair / groups, pair % groups, blocks * chunk / chunks,
                              blocks * (chunk + 1) / chunks, parts + unit * part);
  });
  parallel(runtime, pairs * shape.fixed_strips, [&](int64_t unit) {
    const int64_t pair = unit / shape.fixed_strips;
    store_strip(problem, shape, parts + pair * chunks * part, pair / groups, pair % groups,
                unit % shape.fixed_strips);
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

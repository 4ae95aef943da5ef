// Correlation of bfloat16 images by matrix tiles: rows are output channels, sums run over 32 input channels of one tap
// at a time, columns are 16 pixels side by side in the window of geometry.h, its channels in pairs.
//
// Two strips of output channels by two tiles of pixels take four tiles of sums, and each step four loads of 1 KB for
// four products. 64 -> 64 channels, 3 x 3: 32 pixels are 144 products (2304 cycles of AMX) and read 36 KB of weights
// and 36 KB of pixels per two strips, both from the first-level cache as long as blocks of pixels change innermost.
#pragma once

#include "correlate.h"
#include "tile_pack.h"

namespace hyperconv::HYPERCONV_ISA {

struct TilePixels {
  const uint32_t* first;  // pairs of channels of the tiles' first pixel, for offset 0
  int64_t channel_stride, depths;
  const Taps& taps;
};

// out[m][pixel] for 16 M output channels and 16 N pixels; `strips` as packed by pack_strip, of strip_bytes each.
template <int M, int N>
void correlate_strips(Tiles& tiles, const TilePixels& input, const char* strips, int64_t strip_bytes, float* out) {
  constexpr int64_t out_bytes = N * tile_row_bytes;
  const int64_t stride = input.channel_stride * sizeof(uint32_t);
  tiles.load<0>(strips, tile_row_bytes);
  if constexpr (N == 2) tiles.load<1>(strips, tile_row_bytes);
  if constexpr (M == 2) tiles.load<2>(strips + strip_bytes, tile_row_bytes);
  if constexpr (M == 2 && N == 2) tiles.load<3>(strips + strip_bytes, tile_row_bytes);
  const char* weights = strips + sizeof(Tile);
  for (int64_t t = 0; t < input.taps.count; ++t) {
    const uint32_t* pixels = input.first + input.taps.offset[t];
    for (int64_t d = 0; d < input.depths; ++d) {
      tiles.load<4>(weights, tile_row_bytes);
      tiles.load<6>(pixels, stride);
      tiles.multiply<0, 4, 6>();
      if constexpr (N == 2) {
        tiles.load<7>(pixels + tile_side, stride);
        tiles.multiply<1, 4, 7>();
      }
      if constexpr (M == 2) {
        tiles.load<5>(weights + strip_bytes, tile_row_bytes);
        tiles.multiply<2, 5, 6>();
      }
      if constexpr (M == 2 && N == 2) tiles.multiply<3, 5, 7>();
      weights += sizeof(Tile);
      pixels += tile_side * input.channel_stride;
    }
  }
  tiles.store<0>(out, out_bytes);
  if constexpr (N == 2) tiles.store<1>(out + tile_side, out_bytes);
  out += tile_side * N * tile_side;
  if constexpr (M == 2) tiles.store<2>(out, out_bytes);
  if constexpr (M == 2 && N == 2) tiles.store<3>(out + tile_side, out_bytes);
}

// One block of output rows of one sample and group, from its packed window.
inline void correlate_block_by_tiles(const Correlation& problem, const uint32_t* window, const char* strips,
                                     int64_t strip_bytes, int64_t rows, const Target<bfloat16>& target) {
  Tiles tiles;
  alignas(64) float values[4 * tile_side * tile_side], mask[4 * tile_side * tile_side];
  const int64_t pitch = problem.window.pitch, columns = problem.output.size[3], end = (rows - 1) * pitch + columns;
  for (int64_t channel = 0; channel < problem.out_channels; channel += 2 * tile_side, strips += 2 * strip_bytes) {
    const int64_t channels = smaller(2 * tile_side, problem.out_channels - channel);
    for (int64_t p = 0, width; p < end; p += width) {
      width = end - p > tile_side ? 2 * tile_side : tile_side;
      const bool two_strips = channels > tile_side, two_tiles = width > tile_side;
      const auto run = two_strips ? (two_tiles ? correlate_strips<2, 2> : correlate_strips<2, 1>)
                                  : (two_tiles ? correlate_strips<1, 2> : correlate_strips<1, 1>);
      run(tiles,
          {window + p, problem.window.channel_stride, parts_of(problem.in_channels, tile_depth), problem.taps}, strips,
          strip_bytes, values);
      const int64_t last = smaller(end, p + width);
      finish<bfloat16>(values, mask, width, channel, channels, problem, target,
                       [&](const auto& visit) { for_each_segment(p, last, pitch, columns, visit); });
    }
  }
}

inline void correlate_by_tiles(const Correlation& problem, const Runtime& runtime) {
  const Window& window = problem.window;
  const int64_t samples = problem.output.size[0], height = problem.output.size[2], groups = problem.groups;
  const int64_t samples_per_set = samples / problem.different_sets, depths = parts_of(problem.in_channels, tile_depth);
  const int64_t strips = parts_of(problem.out_channels, tile_side);
  const int64_t strip_bytes = (1 + problem.taps.count * depths) * sizeof(Tile);
  const int64_t all_strips = problem.different_sets * groups * strips;
  char* packed = static_cast<char*>(runtime.scratch(scratch_call, all_strips * strip_bytes));
  parallel(runtime, all_strips, [&](int64_t unit) {
    const int64_t strip = unit % strips, pair = unit / strips;
    pack_strip(packed + unit * strip_bytes, problem, pair / groups, pair % groups, strip * tile_side);
  });

  const int64_t blocks = parts_of(height, problem.block_rows), pairs = depths * tile_side;
  parallel(runtime, samples * groups * blocks, [&](int64_t unit) {
    const int64_t first_row = unit % blocks * problem.block_rows, sample_group = unit / blocks;
    const int64_t group = sample_group % groups, sample = sample_group / groups;
    const int64_t rows = smaller(problem.block_rows, height - first_row);
    const int64_t set = sample / samples_per_set;
    // Tiles may reach beyond the last channel, for results that are never stored.
    const int64_t words = pairs * window.channel_stride, beyond = 2 * tile_side;
    const int64_t line_bytes = 3 * window.pitch * sizeof(bfloat16);
    uint32_t* pixels = static_cast<uint32_t*>(
        runtime.scratch(scratch_block, (words + beyond) * sizeof(uint32_t) + line_bytes));
    __builtin_memset(pixels + words, 0, beyond * sizeof(uint32_t));
    pack_pairs(pixels, window, problem.input, problem.input_mask,
               {sample, group * problem.in_channels, problem.in_channels}, pairs, first_row, rows + window.row_span,
               float(problem.negative_slope), reinterpret_cast<bfloat16*>(pixels + words + beyond));
    correlate_block_by_tiles(problem, pixels, packed + (set * groups + group) * strips * strip_bytes, strip_bytes,
                             rows, Target<bfloat16>(problem, sample, group * problem.out_channels, first_row));
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

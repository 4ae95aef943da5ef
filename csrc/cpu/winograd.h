// The correlation of a dense 3 x 3 kernel by Winograd's F(M x M, 3 x 3), with 2.25, 3.24 or 4 times fewer products, and
// of other kernels and strides by their parts of at most R x R taps side by side.
//
// A tile of (M + R - 1) x (M + R - 1) inputs gives M x M outputs. For each of the entries of a transformed tile there
// is one product of matrices, (tiles x input channels) times (input channels x output channels):
//     inputs[entry][tile][c] * weights[entry][c][o] = products[entry][tile][o].
// Each part of a kernel sees an image of its own, shifted and taken in steps of the stride: more input channels.
// A NaN or an infinity of the input reaches all of the tiles that read it.
#pragma once

#include "parallel.h"
#include "store.h"
#include "winograd_weights.h"

namespace hyperconv::HYPERCONV_ISA {

// Channels of one partial sum. The products of F(3 x 3) and F(4 x 4) are larger than the outputs they cancel to, and so
// are the errors of their sums.
constexpr int64_t channels_at_once(int outputs) { return outputs == 2 ? 64 : 16; }

// Memory for one block: its packed window, the transformed tiles of a part of it and their products, and the outputs of
// a vector of channels.
template <typename T, int M, int R>
struct BlockMemory {
  BlockMemory(T* memory, const Tiling<T, M, R>& tiling)
      : window(memory),
        lines(window + tiling.input_elements()),
        products(lines + tiling.line_elements()),
        pixels(products + product_elements(tiling)),
        values(pixels + vector_elements(tiling)),
        mask(values + vector_elements(tiling)) {}
  T *window, *lines, *products, *pixels, *values, *mask;

  static int64_t pitch(int64_t tiles) { return round_up(M * tiles, 4); }
  static int64_t product_elements(const Tiling<T, M, R>& tiling) { return (tile_products(M, R) + 1) * tiling.slot(); }
  static int64_t vector_elements(const Tiling<T, M, R>& tiling) { return M * pitch(tiling.tiles) * lanes<T>; }
  static int64_t elements(const Tiling<T, M, R>& tiling) {
    return tiling.input_elements() + tiling.line_elements() + product_elements(tiling) + 3 * vector_elements(tiling);
  }
};

// `count` tiles of a packed window from the tile `begin` on: [entry][tile][channel].
template <typename T, int M, int R>
void transform_window(T* target, const Tiling<T, M, R>& tiling, const T* window, int64_t begin, int64_t count) {
  const int64_t slot = tiling.slot(), channels = tiling.part_in, row_elements = tiling.input_columns * channels;
  for (int64_t tile = begin; tile < begin + count; ++tile) {
    const int64_t row = tile / tiling.tile_columns * M, column = tile % tiling.tile_columns * M;
    const T* first = window + row * row_elements + column * channels;
    for (int64_t part = 0; part < tiling.in; part += channels, first += tiling.part_elements(), target += channels)
      for (int64_t c = 0; c < channels; c += lanes<T>)
        transform_tile<T, tile_inputs(M, R), tile_inputs(M, R)>(
            [](const auto& line, auto& result) { transform_inputs<T>(line, result); },
            [&](int i, int j, Vector<T>& pixel) { load(pixel, first + i * row_elements + j * channels + c); },
            [&](int i, int j, const Vector<T>& entry) {
              store(target + (i * tile_inputs(M, R) + j) * slot + c, entry);
            });
  }
}

// values[channel][row of the tile][M * tile + column] = the outputs of a vector of channels, by way of `pixels`, where
// the channels are innermost.
template <typename T, int M, int R>
void transform_to_outputs(T* values, T* pixels, const T* products, const Tiling<T, M, R>& tiling, int64_t tiles,
                          const Vector<T>& bias) {
  const int64_t slot = tiling.slot(), pitch = BlockMemory<T, M, R>::pitch(tiles);
  for (int64_t tile = 0; tile < tiles; ++tile, products += tiling.out) {
    transform_tile<T, tile_inputs(M, R), M>(
        [](const auto& line, auto& result) { transform_products<T>(line, result); },
        [&](int i, int j, Vector<T>& product) { load(product, products + (i * tile_inputs(M, R) + j) * slot); },
        [&](int i, int j, const Vector<T>& pixel) {
          store(pixels + (i * pitch + tile * M + j) * lanes<T>, Vector<T>(pixel + bias));
        });
  }
  for (int row = 0; row < M; ++row) {
    fill_zero(pixels + (row * pitch + M * tiles) * lanes<T>, (pitch - M * tiles) * lanes<T>);
    for (int channel = 0; channel < lanes<T>; channel += channel_group<T>)
      for (int64_t column = 0; column < pitch; column += 4)
        transpose<T, 4, channel_group<T>>(values + (channel * M + row) * pitch + column, M * pitch,
                                           pixels + (row * pitch + column) * lanes<T> + channel, lanes<T>);
  }
}

// Consecutive tiles of a block of output rows: those that lie in the image.
struct TileRange {
  int64_t begin, end, tile_columns, rows, columns;
};

// visit(offset in values, row, column, count) for every row of outputs in the image.
template <int M, typename Visit>
HYPERCONV_INLINE void for_each_output_row(const TileRange& tiles, const Visit& visit) {
  const int64_t pitch = round_up(M * (tiles.end - tiles.begin), 4);
  for (int64_t tile = tiles.begin; tile < tiles.end;) {
    const int64_t tile_row = tile / tiles.tile_columns, column = tile % tiles.tile_columns * M;
    const int64_t next = smaller(tiles.end, (tile_row + 1) * tiles.tile_columns);
    const int64_t count = smaller((next - tile) * M, tiles.columns - column);
    for (int64_t i = 0; i < smaller(M, tiles.rows - tile_row * M); ++i)
      visit(i * pitch + (tile - tiles.begin) * M, tile_row * M + i, column, count);
    tile = next;
  }
}

// A packed block of output rows of one sample and group.
template <typename S, int M, int R>
void correlate_window(const Correlation& problem, const Tiling<Sum<S>, M, R>& tiling, const Sum<S>* weights,
                      const BlockMemory<Sum<S>, M, R>& memory, int64_t rows, const Target<S>& target) {
  using T = Sum<S>;
  const int64_t slot = tiling.slot();
  const Panels parts = cut_into_panels((rows + M - 1) / M * tiling.tile_columns, tiling.tiles);
  for (int64_t part = 0; part < parts.count; ++part) {
    const int64_t begin = panel_start(parts, part), count = panel_width(parts, part);
    // The products of an entry replace the inputs of the entry before, which are no longer needed.
    T *const products = memory.products, *const inputs = products + slot;
    transform_window<T, M, R>(inputs, tiling, memory.window, begin, count);
    for (int entry = 0; entry < tile_products(M, R); ++entry)
      multiply<T>({inputs + entry * slot, tiling.in, 1}, {weights + entry * tiling.matrix(), tiling.in, 0}, count,
                  tiling.out, {tiling.in, channels_at_once(M)}, products + entry * slot, false);
    const TileRange range{begin, begin + count, tiling.tile_columns, rows, problem.output.size[3]};
    for (int64_t channel = 0; channel < tiling.out; channel += lanes<T>) {
      Vector<T> bias;
      load(bias, weights + tiling.matrices() + channel);
      transform_to_outputs<T, M, R>(memory.values, memory.pixels, products + channel, tiling, count, bias);
      finish<S>(memory.values, memory.mask, M * BlockMemory<T, M, R>::pitch(count), channel,
                smaller(lanes<T>, problem.out_channels - channel), problem, target,
                [&](const auto& visit) { for_each_output_row<M>(range, visit); });
    }
  }
}

// Block `index` of the samples that share a set of weights, in one group.
template <typename S, int M, int R>
void correlate_block_of(const Correlation& problem, const Tiling<Sum<S>, M, R>& tiling, const Sum<S>* weights,
                        Sum<S>* memory, int64_t first_sample, int64_t group, int64_t index) {
  using T = Sum<S>;
  const int64_t height = problem.output.size[2], blocks = (height + problem.block_rows - 1) / problem.block_rows;
  const int64_t sample = first_sample + index / blocks, first_row = index % blocks * problem.block_rows;
  const int64_t rows = smaller(problem.block_rows, height - first_row);
  const BlockMemory<T, M, R> block(memory, tiling);
  const KernelParts& parts = problem.parts;
  for (int64_t part = 0; part < parts.count; ++part)
    pack_block<S>(block.window + part * tiling.part_elements(),
                  {sample, group * problem.in_channels, problem.in_channels, tiling.part_in,
                   first_row * parts.row_step + parts.first_row[part], round_up(rows, M) + R - 1,
                   parts.first_column[part], tiling.input_columns, parts.row_step, parts.column_step},
                  problem.input, problem.input_mask, block.lines, T(problem.negative_slope));
  correlate_window<S, M, R>(problem, tiling, weights, block, rows,
                         Target<S>(problem, sample, group * problem.out_channels, first_row));
}

template <typename S, int M, int R>
void correlate_tiles(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const Tiling<T, M, R> tiling(problem.in_channels, problem.parts.count, problem.out_channels,
                               problem.output.size[3], problem.block_rows, problem.tiles_at_once);
  const int64_t samples = problem.output.size[0], groups = problem.groups;
  const int64_t pairs = problem.different_sets * groups, samples_per_set = samples / problem.different_sets;
  const int64_t blocks = samples_per_set * ((problem.output.size[2] + problem.block_rows - 1) / problem.block_rows);
  const int64_t set_elements = tiling.matrices() + tiling.out;  // weights, then biases
  const int64_t block_elements = BlockMemory<T, M, R>::elements(tiling);
  const auto transform_channel = [&](T* weights, int64_t pair, int64_t channel) {
    transform_weights<S, M, R>(weights, problem, tiling, pair / groups, pair % groups, channel);
    if (channel == 0)
      pack_bias<S>(weights + tiling.matrices(), problem, pair / groups, pair % groups, 0, tiling.out);
  };
  const auto correlate_block = [&](const T* weights, T* memory, int64_t pair, int64_t index) {
    correlate_block_of<S, M, R>(problem, tiling, weights, memory, pair / groups * samples_per_set, pair % groups,
                                index);
  };

  if (problem.whole_sets) {  // transformed weights stay in the cache of the core that uses them
    parallel(runtime, pairs, [&](int64_t pair) {
      T* weights = static_cast<T*>(runtime.scratch(scratch_block, (set_elements + block_elements) * sizeof(T)));
      for (int64_t channel = 0; channel < tiling.part_in; ++channel) transform_channel(weights, pair, channel);
      for (int64_t index = 0; index < blocks; ++index) correlate_block(weights, weights + set_elements, pair, index);
    });
    return;
  }
  T* weights = static_cast<T*>(runtime.scratch(scratch_call, pairs * set_elements * sizeof(T)));
  parallel(runtime, pairs * tiling.part_in, [&](int64_t unit) {
    const int64_t pair = unit / tiling.part_in;
    transform_channel(weights + pair * set_elements, pair, unit % tiling.part_in);
  });
  parallel(runtime, pairs * blocks, [&](int64_t unit) {
    const int64_t pair = unit / blocks;
    T* memory = static_cast<T*>(runtime.scratch(scratch_block, block_elements * sizeof(T)));
    correlate_block(weights + pair * set_elements, memory, pair, unit % blocks);
  });
}

template <typename S>
void correlate_winograd(const Correlation& problem, const Runtime& runtime) {
  if (problem.parts.side == 2) return correlate_tiles<S, 4, 2>(problem, runtime);
  switch (problem.tile_outputs) {
    case 2: return correlate_tiles<S, 2, 3>(problem, runtime);
    case 3: return correlate_tiles<S, 3, 3>(problem, runtime);
    default: return correlate_tiles<S, 4, 3>(problem, runtime);
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

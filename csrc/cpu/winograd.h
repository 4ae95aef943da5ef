// The correlation of a dense 3 x 3 kernel by Winograd's F(M x M, 3 x 3): 9 / 4 or 4 times fewer products.
//
// A tile of (M + 2) x (M + 2) inputs gives M x M outputs. For each of the (M + 2)^2 entries of a transformed tile there
// is one product of matrices, (tiles x input channels) times (input channels x output channels):
//     inputs[entry][tile][c] * weights[entry][c][o] = products[entry][tile][o].
// A NaN or an infinity of the input reaches all of the tiles that read it.
#pragma once

#include "parallel.h"
#include "store.h"
#include "winograd_products.h"
#include "winograd_tiles.h"

namespace hyperconv::HYPERCONV_ISA {

// Channels of one partial sum. The products of F(4 x 4) are larger than the outputs they cancel to, and so are the
// errors of their sums.
constexpr int64_t channels_at_once(int outputs) { return outputs == 2 ? 64 : 16; }

// Sizes of one problem; channels are padded to whole vectors.
template <typename T, int M>
struct WinogradShape {
  explicit WinogradShape(const Correlation& problem)
      : in(round_up(problem.in_channels, lanes<T>)),
        out(round_up(problem.out_channels, lanes<T>)),
        tile_columns((problem.output.size[3] + M - 1) / M),
        block_tile_rows((problem.block_rows + M - 1) / M),
        window_columns(round_up(tile_columns * M + 2, 4)),
        tiles(smaller(problem.tiles_at_once, block_tile_rows * tile_columns)),
        // One cache line more between entries, so that a tile's entries do not meet in one set of the cache.
        slot(tiles * larger(in, out) + 64 / sizeof(T)) {}
  int64_t in, out, tile_columns, block_tile_rows, window_columns, tiles, slot;

  int64_t weight_elements() const { return tile_products(M) * in * out; }
  int64_t window_elements() const { return (block_tile_rows * M + 2) * window_columns * in; }
  int64_t product_elements() const { return (tile_products(M) + 1) * slot; }
  int64_t line_elements() const { return 4 * window_columns; }
  int64_t output_elements() const { return M * round_up(M * tiles, 4) * lanes<T>; }  // of a vector of channels
};

// Kernel entries of one input channel of a set and group, transformed, for all output channels: [entry][panel of
// output channels][input channel][output channel of the panel].
template <typename S, int M>
void transform_weights(Sum<S>* target, const Correlation& problem, const WinogradShape<Sum<S>, M>& shape, int64_t set,
                       int64_t group, int64_t channel) {
  using T = Sum<S>;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride + channel * problem.weight_in_stride;
  for (int64_t panel = 0, width; panel < shape.out; panel += width) {
    width = vectors_at_once((shape.out - panel) / lanes<T>) * lanes<T>;
    for (int64_t first = panel; first < panel + width; first += lanes<T>) {
      alignas(64) T taps[kernel_taps * kernel_taps][lanes<T>] = {};
      const int64_t count = channel < problem.in_channels ? smaller(lanes<T>, problem.out_channels - first) : 0;
      for (int64_t lane = 0; lane < count; ++lane)
        for (int tap = 0; tap < kernel_taps * kernel_taps; ++tap)
          taps[tap][lane] = widen(weight[(first + lane) * problem.weight_out_stride + problem.taps.weight[tap]]);
      T* vector = target + panel * shape.in + channel * width + (first - panel);
      transform_tile<T, kernel_taps, tile_inputs(M)>(
          [](const auto& line, auto& result) { transform_taps<T>(line, result); },
          [&](int row, int column, Vector<T>& tap) { load(tap, taps[row * kernel_taps + column]); },
          [&](int row, int column, const Vector<T>& entry) {
            store(vector + (row * tile_inputs(M) + column) * shape.in * shape.out, entry);
          });
    }
  }
}

// `count` tiles of a packed window from the tile `begin` on: [entry][tile][channel].
template <typename T, int M>
void transform_window(T* target, const WinogradShape<T, M>& shape, const T* window, int64_t begin, int64_t count) {
  for (int64_t tile = begin; tile < begin + count; ++tile, target += shape.in) {
    const int64_t row = tile / shape.tile_columns * M, column = tile % shape.tile_columns * M;
    const T* first = window + (row * shape.window_columns + column) * shape.in;
    for (int64_t c = 0; c < shape.in; c += lanes<T>)
      transform_tile<T, tile_inputs(M), tile_inputs(M)>(
          [](const auto& line, auto& result) { transform_inputs<T>(line, result); },
          [&](int i, int j, Vector<T>& pixel) { load(pixel, first + (i * shape.window_columns + j) * shape.in + c); },
          [&](int i, int j, const Vector<T>& entry) {
            store(target + (i * tile_inputs(M) + j) * shape.slot + c, entry);
          });
  }
}

// values[channel][row of the tile][M * tile + column] = the outputs of a vector of channels, by way of `pixels`, where
// the channels are innermost.
template <typename T, int M>
void transform_to_outputs(T* values, T* pixels, const T* products, const WinogradShape<T, M>& shape, int64_t tiles,
                          const Vector<T>& bias) {
  const int64_t pitch = round_up(M * tiles, 4);
  for (int64_t tile = 0; tile < tiles; ++tile, products += shape.out) {
    transform_tile<T, tile_inputs(M), M>(
        [](const auto& line, auto& result) { transform_products<T>(line, result); },
        [&](int i, int j, Vector<T>& product) { load(product, products + (i * tile_inputs(M) + j) * shape.slot); },
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

// One block of output rows of one sample and group, from its packed window; `memory` is what follows it.
template <typename S, int M>
void winograd_block(const Correlation& problem, const WinogradShape<Sum<S>, M>& shape, const Sum<S>* window,
                    const Sum<S>* weights, Sum<S>* memory, int64_t rows, const Target<S>& target) {
  using T = Sum<S>;
  const int64_t tiles = (rows + M - 1) / M * shape.tile_columns;
  const Panels chunks = cut_into_panels(tiles, shape.tiles);
  T *const products = memory, *const pixels = products + shape.product_elements();
  T *const values = pixels + shape.output_elements(), *const mask = values + shape.output_elements();
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const int64_t begin = panel_start(chunks, chunk), count = panel_width(chunks, chunk);
    // The products of an entry replace the inputs of the entry before, which are no longer needed.
    T* const inputs = products + shape.slot;
    transform_window<T, M>(inputs, shape, window, begin, count);
    for (int entry = 0; entry < tile_products(M); ++entry)
      multiply<T>({inputs + entry * shape.slot, shape.in, 1}, {weights + entry * shape.in * shape.out, shape.in, 0},
                  count, shape.out, {shape.in, channels_at_once(M)}, products + entry * shape.slot, false);
    const TileRange range{begin, begin + count, shape.tile_columns, rows, problem.output.size[3]};
    for (int64_t channel = 0; channel < shape.out; channel += lanes<T>) {
      Vector<T> bias;
      load(bias, weights + shape.weight_elements() + channel);
      transform_to_outputs<T, M>(values, pixels, products + channel, shape, count, bias);
      finish<S>(values, mask, M * round_up(M * count, 4), channel, smaller(lanes<T>, problem.out_channels - channel),
                problem, target, [&](const auto& visit) { for_each_output_row<M>(range, visit); });
    }
  }
}

template <typename S, int M>
void correlate_tiles(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const WinogradShape<T, M> shape(problem);
  const int64_t samples = problem.output.size[0], height = problem.output.size[2], groups = problem.groups;
  const int64_t samples_per_set = samples / problem.sets;
  const int64_t packed_sets = problem.weight_set_stride == 0 && problem.bias_set_stride == 0 ? 1 : problem.sets;
  const int64_t set_elements = shape.weight_elements() + shape.out;  // weights, then biases
  T* weights = static_cast<T*>(runtime.scratch(scratch_call, packed_sets * groups * set_elements * sizeof(T)));
  parallel(runtime, packed_sets * groups * shape.in, [&](int64_t unit) {
    const int64_t channel = unit % shape.in, pair = unit / shape.in, set = pair / groups, group = pair % groups;
    T* target = weights + pair * set_elements;
    transform_weights<S, M>(target, problem, shape, set, group, channel);
    if (channel == 0) pack_bias<S>(target + shape.weight_elements(), problem, set, group, 0, shape.out);
  });

  const int64_t blocks = (height + problem.block_rows - 1) / problem.block_rows;
  parallel(runtime, samples * groups * blocks, [&](int64_t unit) {
    const int64_t first_row = unit % blocks * problem.block_rows, sample_group = unit / blocks;
    const int64_t group = sample_group % groups, sample = sample_group / groups;
    const int64_t rows = smaller(problem.block_rows, height - first_row);
    const int64_t set = packed_sets == 1 ? 0 : sample / samples_per_set;
    const int64_t elements = shape.window_elements() + shape.product_elements() + 3 * shape.output_elements() +
                             shape.line_elements();
    T* window = static_cast<T*>(runtime.scratch(scratch_block, elements * sizeof(T)));
    T* memory = window + shape.window_elements();
    const Block block{sample, group * problem.in_channels, problem.in_channels, shape.in,
                      first_row + problem.window.row_base[0], round_up(rows, M) + 2, problem.window.column_base[0],
                      shape.window_columns};
    pack_block<S>(window, block, problem.input, problem.input_mask,
                  memory + shape.product_elements() + 3 * shape.output_elements(), T(problem.negative_slope));
    winograd_block<S, M>(problem, shape, window, weights + (set * groups + group) * set_elements, memory, rows,
                         Target<S>(problem, sample, group * problem.out_channels, first_row));
  });
}

template <typename S>
void correlate_winograd(const Correlation& problem, const Runtime& runtime) {
  problem.tile_outputs == 2 ? correlate_tiles<S, 2>(problem, runtime) : correlate_tiles<S, 4>(problem, runtime);
}

}  // namespace hyperconv::HYPERCONV_ISA

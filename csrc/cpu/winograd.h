// The correlation of a dense 3 x 3 kernel by Winograd's F(4 x 4, 3 x 3): a quarter of the products.
//
// A tile of 6 x 6 inputs gives 4 x 4 outputs. For each of the 36 entries of a transformed tile there is one product of
// matrices, (tiles x input channels) times (input channels x output channels):
//     inputs[entry][tile][c] * weights[entry][c][o] = products[entry][tile][o].
// A NaN or an infinity of the input reaches the whole tiles that read it.
#pragma once

#include "parallel.h"
#include "store.h"
#include "winograd_products.h"
#include "winograd_tiles.h"

namespace hyperconv::HYPERCONV_ISA {

// Channels of one partial sum: long sums are sums of shorter ones, to lose less precision.
constexpr int64_t channels_at_once = 256;

// Sizes of one problem: channels are padded to whole vectors.
template <typename T>
struct WinogradShape {
  explicit WinogradShape(const Correlation& problem)
      : in(round_up(problem.in_channels, lanes<T>)),
        out(round_up(problem.out_channels, lanes<T>)),
        tile_columns(tiles_over(problem.output.size[3])),
        block_tile_rows(tiles_over(problem.block_rows)),
        window_columns(tile_columns * tile_outputs + 4),
        // One cache line more between entries, so that a tile's entries do not meet in one set of the cache.
        slot(problem.tiles_at_once * larger(in, out) + 64 / sizeof(T)) {}
  int64_t in, out, tile_columns, block_tile_rows, window_columns, slot;

  int64_t weight_elements() const { return tile_products * in * out; }
  int64_t window_elements() const { return (block_tile_rows * tile_outputs + 2) * window_columns * in; }
};

// Kernel entries of one input channel of a set and group, transformed, for all output channels.
template <typename S>
void transform_weights(Sum<S>* target, const Correlation& problem, const WinogradShape<Sum<S>>& shape, int64_t set,
                       int64_t group, int64_t channel) {
  using T = Sum<S>;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride + channel * problem.weight_in_stride;
  target += channel * shape.out;
  for (int64_t first = 0; first < shape.out; first += lanes<T>) {
    alignas(64) T taps[tile_taps * tile_taps][lanes<T>] = {};
    const int64_t count = smaller(lanes<T>, problem.out_channels - first);
    for (int64_t lane = 0; lane < count; ++lane)
      for (int tap = 0; tap < tile_taps * tile_taps; ++tap)
        taps[tap][lane] = widen(weight[(first + lane) * problem.weight_out_stride + problem.taps.weight[tap]]);
    transform_tile<T, 3, 6>(
        [](const auto& line, auto& result) { transform_taps<T>(line, result); },
        [&](int row, int column, Vector<T>& tap) { load(tap, taps[row * tile_taps + column]); },
        [&](int row, int column, const Vector<T>& entry) {
          store(target + (row * tile_inputs + column) * shape.in * shape.out + first, entry);
        });
  }
}

// Tiles [begin, end) of a packed window: [entry][tile][channel].
template <typename T>
void transform_window(T* target, int64_t slot, const T* window, int64_t window_columns, int64_t channels,
                      int64_t tile_columns, int64_t begin, int64_t end) {
  for (int64_t tile = begin; tile < end; ++tile, target += channels) {
    const int64_t row = tile / tile_columns * tile_outputs, column = tile % tile_columns * tile_outputs;
    const T* first = window + (row * window_columns + column) * channels;
    for (int64_t c = 0; c < channels; c += lanes<T>)
      transform_tile<T, 6, 6>(
          [](const auto& line, auto& result) { transform_inputs<T>(line, result); },
          [&](int i, int j, Vector<T>& pixel) { load(pixel, first + (i * window_columns + j) * channels + c); },
          [&](int i, int j, const Vector<T>& entry) { store(target + (i * tile_inputs + j) * slot + c, entry); });
  }
}

// Consecutive tiles of a block of output rows, and a vector of output channels.
struct TileRange {
  int64_t begin, end, tile_columns;
};

// values[channel][row of the tile][4 * tile + column] = the outputs of a vector of channels.
template <typename T>
void transform_outputs_of(T* values, const T* products, int64_t slot, int64_t channels, int64_t tiles,
                          const Vector<T>& bias) {
  const int64_t pitch = tile_outputs * tiles;
  for (int64_t tile = 0; tile < tiles; ++tile, products += channels) {
    alignas(64) T pixels[tile_outputs][tile_outputs][lanes<T>];
    transform_tile<T, 6, 4>(
        [](const auto& line, auto& result) { transform_products<T>(line, result); },
        [&](int i, int j, Vector<T>& product) { load(product, products + (i * tile_inputs + j) * slot); },
        [&](int i, int j, const Vector<T>& pixel) { store(pixels[i][j], Vector<T>(pixel + bias)); });
    for (int row = 0; row < tile_outputs; ++row)
      for (int channel = 0; channel < lanes<T>; channel += 4)
        transpose_quad<T>(values + (channel * tile_outputs + row) * pitch + tile * tile_outputs,
                          tile_outputs * pitch, pixels[row][0] + channel, lanes<T>);
  }
}

// visit(offset in values, row, column, count) for every row of outputs of the tiles that lies in the image.
template <typename Visit>
HYPERCONV_INLINE void for_each_output_row(const TileRange& tiles, int64_t rows, int64_t columns, const Visit& visit) {
  const int64_t pitch = tile_outputs * (tiles.end - tiles.begin);
  for (int64_t tile = tiles.begin; tile < tiles.end;) {
    const int64_t tile_row = tile / tiles.tile_columns, tile_column = tile % tiles.tile_columns;
    const int64_t next = smaller(tiles.end, (tile_row + 1) * tiles.tile_columns), column = tile_column * tile_outputs;
    const int64_t count = smaller((next - tile) * tile_outputs, columns - column);
    for (int64_t i = 0; i < smaller(tile_outputs, rows - tile_row * tile_outputs); ++i)
      visit(i * pitch + (tile - tiles.begin) * tile_outputs, tile_row * tile_outputs + i, column, count);
    tile = next;
  }
}

// Activation or mask on a vector of output channels of some tiles, and their way out.
template <typename S>
void store_tiles(Sum<S>* values, Sum<S>* mask, const Correlation& problem, const Target<S>& target,
                 const TileRange& tiles, int64_t rows, int64_t first_channel) {
  using T = Sum<S>;
  const int64_t columns = problem.output.size[3], count = smaller(lanes<T>, problem.out_channels - first_channel);
  const int64_t per_channel = tile_pixels * (tiles.end - tiles.begin);
  const T slope = T(problem.negative_slope);
  if (target.masked()) {
    fill_zero(mask, count * per_channel);
    for_each_output_row(tiles, rows, columns, [&](int64_t offset, int64_t row, int64_t column, int64_t width) {
      target.load_mask(mask + offset, per_channel, first_channel, count, row, column, width);
    });
    for (int64_t i = 0; i < count * per_channel; ++i) values[i] *= mask[i] > 0 ? T(1) : slope;
  }
  activate(values, count * per_channel, problem.activation, slope);
  for_each_output_row(tiles, rows, columns, [&](int64_t offset, int64_t row, int64_t column, int64_t width) {
    target.store(values + offset, per_channel, first_channel, count, row, column, width);
  });
}

// One block of output rows of one sample and group, from its packed window.
template <typename S>
void winograd_block(const Correlation& problem, const WinogradShape<Sum<S>>& shape, const Sum<S>* window,
                    const Sum<S>* weights, const Sum<S>* bias, Sum<S>* products, Sum<S>* values, int64_t rows,
                    const Target<S>& target) {
  using T = Sum<S>;
  const int64_t tiles = tiles_over(rows) * shape.tile_columns;
  const Panels chunks = cut_into_panels(tiles, problem.tiles_at_once);
  Sum<S>* mask = values + problem.tiles_at_once * tile_pixels * lanes<T>;
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const int64_t begin = panel_start(chunks, chunk), count = panel_width(chunks, chunk);
    // The products of an entry replace the inputs of the entry before, which are no longer needed.
    T* inputs = products + shape.slot;
    transform_window<T>(inputs, shape.slot, window, shape.window_columns, shape.in, shape.tile_columns, begin,
                        begin + count);
    for (int entry = 0; entry < tile_products; ++entry) {
      const T* weight = weights + entry * shape.in * shape.out;
      for (int64_t c = 0; c < shape.in; c += channels_at_once)
        multiply<T>({inputs + entry * shape.slot + c, shape.in, 1}, weight + c * shape.out, count, shape.out,
                    smaller(channels_at_once, shape.in - c), products + entry * shape.slot, c > 0);
    }
    for (int64_t channel = 0; channel < shape.out; channel += lanes<T>) {
      Vector<T> offset;
      load(offset, bias + channel);
      transform_outputs_of<T>(values, products + channel, shape.slot, shape.out, count, offset);
      store_tiles<S>(values, mask, problem, target, {begin, begin + count, shape.tile_columns}, rows, channel);
    }
  }
}

template <typename S>
void correlate_winograd(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const WinogradShape<T> shape(problem);
  const int64_t samples = problem.output.size[0], height = problem.output.size[2], groups = problem.groups;
  const int64_t samples_per_set = samples / problem.sets;
  const int64_t packed_sets = problem.weight_set_stride == 0 && problem.bias_set_stride == 0 ? 1 : problem.sets;
  const int64_t set_elements = shape.weight_elements() + shape.out;  // weights, then biases
  T* weights = static_cast<T*>(runtime.scratch(scratch_call, packed_sets * groups * set_elements * sizeof(T)));
  parallel(runtime, packed_sets * groups * shape.in, [&](int64_t unit) {
    const int64_t channel = unit % shape.in, pair = unit / shape.in, set = pair / groups, group = pair % groups;
    T* target = weights + pair * set_elements;
    if (channel < problem.in_channels) {
      transform_weights<S>(target, problem, shape, set, group, channel);
    } else {
      for (int entry = 0; entry < tile_products; ++entry)
        fill_zero(target + (entry * shape.in + channel) * shape.out, shape.out);
    }
    if (channel == 0) pack_bias<S>(target + shape.weight_elements(), problem, set, group, 0, shape.out);
  });

  const int64_t blocks = (height + problem.block_rows - 1) / problem.block_rows;
  parallel(runtime, samples * groups * blocks, [&](int64_t unit) {
    const int64_t first_row = unit % blocks * problem.block_rows, sample_group = unit / blocks;
    const int64_t group = sample_group % groups, sample = sample_group / groups;
    const int64_t rows = smaller(problem.block_rows, height - first_row);
    const int64_t set = packed_sets == 1 ? 0 : sample / samples_per_set;
    const int64_t line_elements = 4 * shape.window_columns;
    const int64_t value_elements = problem.tiles_at_once * tile_pixels * lanes<T>;
    const int64_t elements = shape.window_elements() + line_elements + (tile_products + 1) * shape.slot;
    T* window = static_cast<T*>(runtime.scratch(scratch_block, (elements + 2 * value_elements) * sizeof(T)));
    T *products = window + shape.window_elements(), *values = products + (tile_products + 1) * shape.slot;
    const Block block{sample, group * problem.in_channels, problem.in_channels, shape.in,
                      first_row + problem.window.row_base[0], tiles_over(rows) * tile_outputs + 2,
                      problem.window.column_base[0], shape.window_columns};
    pack_block<S>(window, block, problem.input, problem.input_mask, values + 2 * value_elements,
                  T(problem.negative_slope));
    const T* set_weights = weights + (set * groups + group) * set_elements;
    winograd_block<S>(problem, shape, window, set_weights, set_weights + shape.weight_elements(), products, values,
                      rows, Target<S>(problem, sample, group * problem.out_channels, first_row));
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

// Correlation of thin layers by row_pairs.h: a kernel of three rows, its columns side by side, few input channels.
//
// Output channels go by panels, outermost within a line of tiles: so few rows of the output are written at a time, each
// from its first pixel to its last.
#pragma once

#include "correlate.h"
#include "row_pairs.h"

namespace hyperconv::HYPERCONV_ISA {

// The factors of one block, [product][input channel][pair][pitch]; a step is an input channel and a column of the
// kernel.
template <typename T>
struct PairFactors {
  const T* pixels;
  int64_t product_stride;
  const int64_t* offsets;  // of every step
  int64_t steps;
};

// M rows of V vectors of memory: asked for during the products, they are there when the products are. The caches' own
// prefetching does not follow short rows of many channels.
template <typename T>
struct SoonNeeded {
  const T* data;  // nullptr: none
  int64_t stride;
};

// Where the first `count` results of a tile's rows go, and the mask that multiplies them (nullptr: none), for channel 0
// of the upper row.
template <typename T>
struct PairTarget {
  int64_t count;
  T* data;
  int64_t channel_stride, row_stride;
  const T* mask;
  int64_t mask_channel_stride, mask_row_stride;

  SoonNeeded<T> output_row(int row) const { return {data + row * row_stride, channel_stride}; }
  SoonNeeded<T> mask_row(int row) const { return {mask ? mask + row * mask_row_stride : mask, mask_channel_stride}; }
};

template <typename T, int M, int V>
HYPERCONV_INLINE void add_products(Vector<T> (&sum)[M][V], const T* pixels, const int64_t* offsets, int64_t steps,
                                   const T* weights, SoonNeeded<T> soon) {
  constexpr bool whole_lines = sizeof(Vector<T>) == 64;  // with shorter vectors asking costs more than it saves
  int64_t asked = soon.data && whole_lines ? 0 : M;
  for (int64_t step = 0; step < steps; ++step, weights += M) {
    for (; asked < M && asked * steps <= step * M; ++asked)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) __builtin_prefetch(soon.data + asked * soon.stride + v * lanes<T>);
    multiply_add<T, M, V>(sum, pixels + offsets[step], weights, 1);
  }
}

// visit(m, v) for every sum of a tile, unrolled.
template <int M, int V, typename Visit>
HYPERCONV_INLINE void for_each_sum(const Visit& visit) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) visit(m, v);
}

// Activation (but tanh, which the caller applies to what is stored) or mask, and the store of one row of a tile: of all
// of it, or of the columns that there are.
template <bool Whole, typename T, int M, int V>
HYPERCONV_INLINE void store_sums_of_row(Vector<T> (&sum)[M][V], const PairTarget<T>& target, int row,
                                        Activation activation, T negative_slope) {
  Vector<T> slope;
  broadcast(slope, negative_slope);
  const auto left = [&](int v) { return Whole ? lanes<T> : target.count - v * lanes<T>; };
  if (target.mask) {
    for_each_sum<M, V>([&](int m, int v) {
      const T* source = target.mask + m * target.mask_channel_stride + row * target.mask_row_stride + v * lanes<T>;
      Vector<T> sign = {};
      if (left(v) >= lanes<T>) load(sign, source);
      else if (left(v) > 0) load_first(sign, source, left(v));
      mask_vector(sum[m][v], sign, negative_slope);
    });
  } else if (activation == Activation::leaky_relu) {
    for_each_sum<M, V>([&](int m, int v) { sum[m][v] = sum[m][v] > 0 ? sum[m][v] : sum[m][v] * slope; });
  } else if (activation == Activation::relu) {
    for_each_sum<M, V>([&](int m, int v) { sum[m][v] = sum[m][v] < 0 ? Vector<T>{} : sum[m][v]; });
  }
  for_each_sum<M, V>([&](int m, int v) {
    T* result = target.data + m * target.channel_stride + row * target.row_stride + v * lanes<T>;
    if (left(v) >= lanes<T>) store(result, sum[m][v]);
    else if (left(v) > 0) store_first(result, sum[m][v], left(v));
  });
}

// Two rows of V vectors of M channels; `panel` as packed by pack_pair_panel. The products come in an order that leaves
// one row of partial results in memory and the other in registers.
template <bool Whole, typename T, int M, int V>
void correlate_pair_tile(PairFactors<T> factors, const T* pixels, const T* panel, PairTarget<T> target,
                         Activation activation, T negative_slope) {
  const T* bias = panel;
  const int64_t entries = factors.steps * M;
  Vector<T> sum[M][V];
  alignas(64) T kept[M * V * lanes<T>];
  const auto add = [&](int product, SoonNeeded<T> soon) {
    add_products<T, M, V>(sum, pixels + product * factors.product_stride, factors.offsets, factors.steps,
                          panel + M + product * entries, soon);
  };
  const auto at = [&](int m, int v) { return kept + (m * V + v) * lanes<T>; };

  for_each_sum<M, V>([&](int m, int v) { sum[m][v] = Vector<T>{}; });
  add(1, target.mask_row(0));
  for_each_sum<M, V>([&](int m, int v) {
    store(at(m, v), sum[m][v]);
    sum[m][v] = Vector<T>{};
  });
  add(2, target.output_row(0));
  for_each_sum<M, V>([&](int m, int v) {
    Vector<T> first, offset;
    load(first, at(m, v));
    broadcast(offset, bias[m]);
    first += offset;
    store(at(m, v), Vector<T>(first - sum[m][v]));
    sum[m][v] += first;
  });
  add(0, target.mask_row(1));
  store_sums_of_row<Whole, T, M, V>(sum, target, 0, activation, negative_slope);
  for_each_sum<M, V>([&](int m, int v) { load(sum[m][v], at(m, v)); });
  add(3, target.output_row(1));
  store_sums_of_row<Whole, T, M, V>(sum, target, 1, activation, negative_slope);
}

template <typename T>
using PairTileFunction = void (*)(PairFactors<T>, const T*, const T*, PairTarget<T>, Activation, T);

// Tiles of three lengths: full, half, and a vector.
constexpr int half_tile(int channels) { return (tile_vectors(channels) + 1) / 2; }

template <bool Whole, typename T, int M>
PairTileFunction<T> pair_tile_of_length(int64_t vectors) {
  if (vectors == tile_vectors(M)) return correlate_pair_tile<Whole, T, M, tile_vectors(M)>;
  if (vectors == half_tile(M)) return correlate_pair_tile<Whole, T, M, half_tile(M)>;
  return correlate_pair_tile<Whole, T, M, 1>;
}

template <bool Whole, typename T>
PairTileFunction<T> pair_tile_function(int64_t channels, int64_t vectors) {
  switch (channels) {
    case 1: return pair_tile_of_length<Whole, T, 1>(vectors);
    case 2: return pair_tile_of_length<Whole, T, 2>(vectors);
    case 3: return pair_tile_of_length<Whole, T, 3>(vectors);
#if HYPERCONV_VECTOR_REGISTERS == 32
    case 4: return pair_tile_of_length<Whole, T, 4>(vectors);
    case 5: return pair_tile_of_length<Whole, T, 5>(vectors);
    case 6: return pair_tile_of_length<Whole, T, 6>(vectors);
    case 7: return pair_tile_of_length<Whole, T, 7>(vectors);
    default: return pair_tile_of_length<Whole, T, 8>(vectors);
#else
    default: return pair_tile_of_length<Whole, T, 4>(vectors);
#endif
  }
}

// One panel of `width` output channels: its biases, then [product][input channel][kernel column][width] factors.
template <typename S>
void pack_pair_panel(Sum<S>* target, const Correlation& problem, int64_t set, int64_t group, int64_t first,
                     int64_t width) {
  pack_bias<S>(target, problem, set, group, first, width);
  target += width;
  const int64_t columns = problem.taps.count / 3, entries = problem.in_channels * columns * width;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride + first * problem.weight_out_stride;
  for (int64_t c = 0; c < problem.in_channels; ++c, weight += problem.weight_in_stride) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t* tap = problem.taps.weight + column;
      for (int64_t m = 0; m < width; ++m, ++target) {
        const S* source = weight + m * problem.weight_out_stride;
        Sum<S> factors[pair_products];
        transform_kernel_rows(factors, widen(source[tap[0]]), widen(source[tap[columns]]),
                              widen(source[tap[2 * columns]]));
        for (int i = 0; i < pair_products; ++i) target[i * entries] = factors[i];
      }
    }
  }
}

// Part of two rows of output: from `column` on in rows `row` and, unless it is beyond the block, row + 1.
struct PairPart {
  int64_t row, rows, column, count;
};

// One tile of results by way of memory: converted, or of any strides, or of a single row.
template <typename S>
void correlate_pair_part(const Correlation& problem, const PairFactors<Sum<S>>& factors, const Target<S>& target,
                         PairTileFunction<Sum<S>> run, const Sum<S>* pixels, const Sum<S>* panel, int64_t channel,
                         int64_t width, int64_t length, const PairPart& part) {
  using T = Sum<S>;
  alignas(64) T values[2 * tile_sums * lanes<T>], mask[2 * tile_sums * lanes<T>];
  const int64_t row_values = width * length;
  const T slope = T(problem.negative_slope);
  if (target.masked()) {
    fill_zero(mask, 2 * row_values);
    for (int64_t i = 0; i < part.rows; ++i)
      target.load_mask(mask + i * row_values, length, channel, width, part.row + i, part.column, part.count);
  }
  const T* sign = target.masked() ? mask : nullptr;
  const PairTarget<T> rows{length, values, length, row_values, sign, length, row_values};
  run(factors, pixels, panel, rows, problem.activation, slope);
  if (problem.activation == Activation::tanh) activate(values, 2 * row_values, Activation::tanh, slope);
  for (int64_t i = 0; i < part.rows; ++i)
    target.store(values + i * row_values, length, channel, width, part.row + i, part.column, part.count);
}

// One block of `rows` output rows of one sample and group.
template <typename S>
void correlate_pair_block(const Correlation& problem, const PairFactors<Sum<S>>& factors, const Sum<S>* weights,
                          int64_t rows, const Target<S>& target) {
  using T = Sum<S>;
  const Image &output = problem.output, &mask = problem.output_mask;
  const int64_t columns = output.size[3], per_channel = 1 + pair_products * factors.steps;
  const Panels panels = cut_into_panels(problem.out_channels, panel_limit);
  const bool direct = target.takes_rows() && problem.activation != Activation::tanh;
  for (int64_t row = 0; row < rows; row += 2) {
    const T* line = factors.pixels + row / 2 * problem.window.pitch;
    for (int64_t i = 0; i < panels.count; ++i) {
      const int64_t channel = panel_start(panels, i), width = panel_width(panels, i);
      const int64_t full = tile_vectors(static_cast<int>(width)), half = half_tile(static_cast<int>(width));
      const T* panel = weights + channel * per_channel;
      for (int64_t p = 0, length; p < columns; p += length) {
        const int64_t left = (columns - p + lanes<T> - 1) / lanes<T>;
        const int64_t vectors = left > half ? full : left > 1 ? half : 1;
        length = vectors * lanes<T>;
        const int64_t column = larger(smaller(p, columns - length), 0);  // the last tile overlaps the one before
        const PairPart part{row, smaller(2, rows - row), column, smaller(length, columns)};
        if constexpr (sizeof(S) == sizeof(T)) {
          if (direct && part.rows == 2) {
            const PairTileFunction<T> run = part.count == length ? pair_tile_function<true, T>(width, vectors)
                                                                 : pair_tile_function<false, T>(width, vectors);
            const T* sign = target.masked() ? target.mask_at(channel, row) + column : nullptr;
            run(factors, line + column, panel,
                {part.count, target.output_at(channel, row) + column, output.stride[1], output.stride[2], sign,
                 mask.stride[1], mask.stride[2]},
                problem.activation, T(problem.negative_slope));
            continue;
          }
        }
        correlate_pair_part<S>(problem, factors, target, pair_tile_function<true, T>(width, vectors), line + column,
                               panel, channel, width, length, part);
      }
    }
  }
}

template <typename S>
void correlate_pairs(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const Window& window = problem.window;
  const int64_t samples = problem.output.size[0], height = problem.output.size[2], in = problem.in_channels;
  const int64_t samples_per_set = samples / problem.different_sets;
  const Panels panels = cut_into_panels(problem.out_channels, panel_limit);
  const int64_t columns = problem.taps.count / 3, steps = in * columns;
  const int64_t group_weights = problem.out_channels * (1 + pair_products * steps);
  const PairWindow rows_by_two(window.row_base[0], window.column_base[0], problem.block_rows / 2 + 1, window.pitch, 0);
  const Window packed_window = rows_by_two.window();
  const int64_t stride = packed_window.channel_stride;

  const int64_t weights_bytes = problem.different_sets * problem.groups * group_weights * sizeof(T);
  int64_t* offsets = static_cast<int64_t*>(runtime.scratch(scratch_call, steps * sizeof(int64_t) + weights_bytes));
  T* weights = reinterpret_cast<T*>(offsets + steps);
  parallel(runtime, problem.different_sets * problem.groups * panels.count, [&](int64_t unit) {
    const int64_t panel = unit % panels.count, set_group = unit / panels.count, first = panel_start(panels, panel);
    pack_pair_panel<S>(weights + set_group * group_weights + first * (1 + pair_products * steps), problem,
                       set_group / problem.groups, set_group % problem.groups, first, panel_width(panels, panel));
  });
  for (int64_t c = 0; c < in; ++c)
    for (int64_t column = 0; column < columns; ++column)
      offsets[c * columns + column] = c * stride + problem.taps.offset[column];

  const int64_t blocks = (height + problem.block_rows - 1) / problem.block_rows;
  parallel(runtime, samples * problem.groups * blocks, [&](int64_t unit) {
    const int64_t first_row = unit % blocks * problem.block_rows, sample_group = unit / blocks;
    const int64_t group = sample_group % problem.groups, sample = sample_group / problem.groups;
    const int64_t rows = smaller(problem.block_rows, height - first_row), pairs = (rows + 1) / 2;
    const int64_t set = sample / samples_per_set;
    const int64_t product_stride = in * stride, elements = pair_products * product_stride;
    const int64_t beyond = longest_tile * lanes<T> + columns;
    T* factors =
        static_cast<T*>(runtime.scratch(scratch_block, (elements + product_stride + 2 * beyond) * sizeof(T)));
    T* packed = factors + elements + beyond;
    pack_window<S>(packed, packed_window, problem.input, problem.input_mask, sample, group * in, in, first_row / 2,
                   pairs + 1, T(problem.negative_slope));
    for (int64_t c = 0; c < in; ++c) {
      const T* even = packed + c * stride;
      transform_input_rows(factors + c * stride, product_stride, even, even + rows_by_two.plane(), window.pitch,
                           pairs * window.pitch);
    }
    fill_zero(factors + elements, beyond);
    const Target<S> target(problem, sample, group * problem.out_channels, first_row);
    correlate_pair_block<S>(problem, {factors, product_stride, offsets, steps},
                            weights + (set * problem.groups + group) * group_weights, rows, target);
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

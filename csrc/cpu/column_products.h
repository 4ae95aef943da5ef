// The convolution over few pixels and its gradients, by columns.h. A pair is one group of one weight set.
#pragma once

#include "accumulate.h"
#include "columns.h"
#include "parallel.h"
#include "store.h"

namespace hyperconv::HYPERCONV_ISA {

// What all three agree on. `all` pixels are those of all samples of a set.
template <typename T>
struct ColumnProblem {
  ColumnProblem(int64_t samples, int64_t sets, int64_t groups, const ColumnTable& table, int64_t channels, int64_t taps)
      : per_set(samples / sets), groups(groups), pairs(sets * groups), pixels(table.pixels), all(per_set * pixels),
        blocks(channels, taps) {}
  int64_t per_set, groups, pairs, pixels, all;
  ChannelBlocks<T> blocks;

  int64_t sample(int64_t pair, int64_t number) const { return pair / groups * per_set + number; }
};

// The way out of `rows` channels of one sample, values[row][pixel].
template <typename S>
void finish_sample(const Correlation& problem, Sum<S>* values, Sum<S>* mask, int64_t sample, int64_t channel, int64_t rows) {
  const int64_t height = problem.output.size[2], width = problem.output.size[3];
  finish<S>(values, mask, height * width, 0, rows, problem, Target<S>(problem, sample, channel, 0),
            [&](const auto& visit) {
              for (int64_t y = 0; y < height; ++y) visit(y * width, y, 0, width);
            });
}

// columns[channel, tap][pitch] of all samples of one pair, with zeros behind.
template <typename S>
void pack_rows(Sum<S>* columns, int64_t pitch, const ColumnProblem<Sum<S>>& shape, int64_t pair, const ColumnTable& table,
               const Image& image, Sum<S>* plane) {
  const int64_t channels = shape.blocks.channels, taps = shape.blocks.taps;
  for (int64_t row = 0; row < channels * taps; ++row)
    fill_zero(columns + row * pitch + shape.all, pitch - shape.all);
  for (int64_t number = 0; number < shape.per_set; ++number)
    pack_columns<S>(columns + number * shape.pixels, taps * pitch, pitch, 1, plane, table, taps, image,
                    shape.sample(pair, number), pair % shape.groups * channels, channels);
}

// columns[block][pixel][pitch] of all samples of one pair, with zeros behind each up to whole vectors.
template <typename S>
void pack_pixels(Sum<S>* columns, const ColumnProblem<Sum<S>>& shape, int64_t pair, const ColumnTable& table,
                 const Image& image, Sum<S>* plane) {
  using T = Sum<S>;
  const ChannelBlocks<T>& blocks = shape.blocks;
  for (int64_t block = 0; block < blocks.count; ++block, columns += shape.all * blocks.pitch) {
    const int64_t length = blocks.length(block);
    for (int64_t p = 0; p < shape.all; ++p)
      fill_zero(columns + p * blocks.pitch + length, vectors_of<T>(length) * lanes<T> - length);
    for (int64_t number = 0; number < shape.per_set; ++number)
      pack_columns<S>(columns + number * shape.pixels * blocks.pitch, blocks.taps, 1, blocks.pitch, plane, table,
                      blocks.taps, image, shape.sample(pair, number),
                      pair % shape.groups * blocks.channels + blocks.first(block), blocks.channels_of(block));
  }
}

// values[pixel][row] += columns[pixel] * weights[row], vectors along both, whose sum is taken at the end.
template <typename T>
void add_dots(const WeightRows<T>& weights, int64_t rows, const T* columns, int64_t pitch, int64_t pixels, int64_t length,
              T* values) {
  const Panels panels = cut_into_panels(pixels, fixed_limit);
  for (int64_t panel = 0; panel < panels.count; ++panel) {
    const int64_t p = panel_start(panels, panel), width = panel_width(panels, panel);
    const int64_t tile = taps_per_tile(static_cast<int>(width));
    for (int64_t first = 0; first < rows; first += tile) {
      const T* row[taps_per_tile(1)];
      for (int64_t i = 0; i < tile; ++i) row[i] = weights.data + smaller(first + i, rows - 1) * weights.stride;
      accumulate_function<T>(width)(columns + p * pitch, pitch, row, vectors_of<T>(length) * lanes<T>,
                                    {values + p * rows + first, nullptr}, rows, smaller(tile, rows - first), true);
    }
  }
}

template <typename S>
void convolve_columns(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const int64_t in = problem.in_channels, out = problem.out_channels, taps = problem.taps.count;
  const ColumnProblem<T> shape(problem.output.size[0], problem.sets, problem.groups, problem.columns, in, taps);
  const ChannelBlocks<T>& blocks = shape.blocks;
  const bool dots = shape.all <= dot_pixels<T>;
  const int64_t pitch = dots ? shape.all : vectors_of<T>(shape.all) * lanes<T>;
  const int64_t size = dots ? blocks.count * shape.all * blocks.pitch : in * taps * pitch;
  const int64_t plane = problem.input.size[2] * problem.input.size[3] + 1;
  T* columns = static_cast<T*>(runtime.scratch(scratch_call, shape.pairs * size * sizeof(T)));
  parallel(runtime, shape.pairs, [&](int64_t pair) {
    T* copy = static_cast<T*>(runtime.scratch(scratch_block, plane * sizeof(T)));
    dots ? pack_pixels<S>(columns + pair * size, shape, pair, problem.columns, problem.input, copy)
         : pack_rows<S>(columns + pair * size, pitch, shape, pair, problem.columns, problem.input, copy);
  });

  const int64_t parts = (out + column_rows - 1) / column_rows, pixels = shape.pixels;
  parallel(runtime, shape.pairs * parts, [&](int64_t unit) {
    const int64_t first = unit % parts * column_rows, pair = unit / parts, rows = smaller(column_rows, out - first);
    const int64_t set = pair / shape.groups, group = pair % shape.groups;
    T* copy = static_cast<T*>(runtime.scratch(
        scratch_block, column_rows * (blocks.pitch + pitch + 2 * pixels + 1) * sizeof(T)));
    T* values = copy + column_rows * blocks.pitch;
    T* own = values + column_rows * pitch;
    T* bias = own + 2 * column_rows * pixels;
    pack_bias<S>(bias, problem, set, group, first, rows);
    const int64_t row_stride = dots ? 1 : pitch, pixel_stride = dots ? rows : 1;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t p = 0; p < pitch; ++p) values[row * row_stride + p * pixel_stride] = bias[row];
    const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                      group * problem.weight_group_stride + first * problem.weight_out_stride;
    const T* block_columns = columns + pair * size;
    for (int64_t block = 0; block < blocks.count; ++block) {
      const int64_t length = blocks.length(block);
      const bool cut = dots && length % lanes<T> > 0;  // a copy has zeros behind
      const WeightRows<T> weights =
          weight_rows<S>(copy, blocks, block, weight, problem.taps.weight, problem.weight_out_stride,
                         problem.weight_in_stride, rows, cut ? in * taps + 1 : length);
      if (dots) {
        add_dots<T>(weights, rows, block_columns, blocks.pitch, pitch, length, values);
        block_columns += shape.all * blocks.pitch;
      } else {
        multiply<T>({weights.data, weights.stride, 1}, {block_columns, 1, pitch}, rows, pitch, {length, length}, values,
                    true);
        block_columns += length * pitch;
      }
    }
    for (int64_t number = 0; number < shape.per_set; ++number) {
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t p = 0; p < pixels; ++p)
          own[row * pixels + p] = values[row * row_stride + (number * pixels + p) * pixel_stride];
      finish_sample<S>(problem, own, own + column_rows * pixels, shape.sample(pair, number), group * out + first, rows);
    }
  });
}

// grad[channel][pitch] of all samples of one pair, with zeros behind.
template <typename S>
void pack_grad(Sum<S>* target, int64_t pitch, const ColumnProblem<Sum<S>>& shape, int64_t pair, const Image& grad,
               const Image& mask, int64_t channels, double slope) {
  for (int64_t c = 0; c < channels; ++c, target += pitch) {
    for (int64_t number = 0; number < shape.per_set; ++number)
      copy_plane<S>(target + number * shape.pixels, grad, mask, shape.sample(pair, number),
                    pair % shape.groups * channels + c, Sum<S>(slope));
    fill_zero(target + shape.all, pitch - shape.all);
  }
}

// columns[pixel][pitch] (+= where `add`) = grad[row][pixel] transposed, times rows of weights of one block.
template <typename T>
void spread_grad(T* columns, int64_t pitch, const T* grad, int64_t pixels, const WeightRows<T>& weights, int64_t rows,
                 int64_t length, bool add) {
  const Panels panels = cut_into_panels(pixels, column_factors);
  for (int64_t panel = 0; panel < panels.count; ++panel) {
    const int64_t p = panel_start(panels, panel), width = panel_width(panels, panel);
    for_each_run<column_vectors>(vectors_of<T>(length), [&](int64_t v, auto vectors) {
      product_function<T, decltype(vectors)::value>(width)({grad + p, 1, pixels}, weights.data + v * lanes<T>,
                                                           weights.stride, {rows, rows},
                                                           columns + p * pitch + v * lanes<T>, pitch, add);
    });
  }
}

// values[channel][plane], with one element more behind for what lies outside, += columns[pixel][pitch] of one sample.
template <typename T>
void add_columns(T* values, int64_t plane, const ColumnTable& table, int64_t channels, int64_t taps, const T* columns,
                 int64_t pitch) {
  for (int64_t c = 0; c < channels; ++c, values += plane) {
    const T outside = values[plane];
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t p = 0; p < table.pixels; ++p)
        values[table.element[t * table.pixels + p]] += columns[p * pitch + c * taps + t];
    values[plane] = outside;
  }
}

// The gradient of the input, which is `output` here, from that of the output, which is its `input`.
template <typename S>
void scatter_columns(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const int64_t grads = problem.in_channels, taps = problem.taps.count;
  const ColumnProblem<T> shape(problem.output.size[0], problem.sets, problem.groups, problem.columns,
                               problem.out_channels, taps);
  const ChannelBlocks<T>& blocks = shape.blocks;
  const int64_t all = shape.all;
  const int64_t most_rows = larger(column_rows, column_block / blocks.pitch);
  T* packed = static_cast<T*>(runtime.scratch(scratch_call, shape.pairs * grads * all * sizeof(T)));
  parallel(runtime, shape.pairs, [&](int64_t pair) {
    pack_grad<S>(packed + pair * grads * all, all, shape, pair, problem.input, problem.input_mask, grads,
                 problem.negative_slope);
  });

  const int64_t plane = problem.output.size[2] * problem.output.size[3];
  parallel(runtime, shape.pairs * blocks.count, [&](int64_t unit) {
    const int64_t block = unit % blocks.count, pair = unit / blocks.count, group = pair % shape.groups;
    const int64_t channels = blocks.channels_of(block);
    T* copy = static_cast<T*>(runtime.scratch(
        scratch_block, ((most_rows + all) * blocks.pitch + 2 * blocks.at_once * plane + 1) * sizeof(T)));
    T* columns = copy + most_rows * blocks.pitch;
    T* values = columns + all * blocks.pitch;
    const T* grad = packed + pair * grads * all;
    const S* weight = static_cast<const S*>(problem.weight) + pair / shape.groups * problem.weight_set_stride +
                      group * problem.weight_group_stride;
    const int64_t length = blocks.length(block), read = vectors_of<T>(length) * lanes<T>;
    for (int64_t first = 0; first < grads; first += most_rows, weight += most_rows * problem.weight_in_stride) {
      const int64_t rows = smaller(most_rows, grads - first);
      const WeightRows<T> weights = weight_rows<S>(copy, blocks, block, weight, problem.taps.weight,
                                                   problem.weight_in_stride, problem.weight_out_stride, rows, read);
      spread_grad<T>(columns, blocks.pitch, grad + first * all, all, weights, rows, length, first > 0);
    }
    for (int64_t number = 0; number < shape.per_set; ++number) {
      fill_zero(values, channels * plane + 1);
      add_columns(values, plane, problem.columns, channels, taps, columns + number * shape.pixels * blocks.pitch,
                  blocks.pitch);
      finish_sample<S>(problem, values, values + blocks.at_once * plane + 1, shape.sample(pair, number),
                       group * problem.out_channels + blocks.first(block), channels);
    }
  });
}

// `rows` rows of the gradient of the weights, [row][c, t], from grad[row][pixel] and columns[block][pixel][pitch].
template <typename S>
void store_products(S* result, int64_t row_stride, const ColumnProblem<Sum<S>>& shape, const Sum<S>* grad, int64_t rows,
                    const Sum<S>* columns) {
  using T = Sum<S>;
  const ChannelBlocks<T>& blocks = shape.blocks;
  alignas(64) T values[column_factors * column_vectors * lanes<T>];
  for (int64_t block = 0; block < blocks.count; ++block, columns += shape.all * blocks.pitch) {
    const int64_t length = blocks.length(block);
    for (int64_t row = 0; row < rows; row += column_factors)
      for_each_run<column_vectors>(vectors_of<T>(length), [&](int64_t v, auto vectors) {
        constexpr int64_t span = decltype(vectors)::value * lanes<T>;
        const int64_t k = v * lanes<T>, kept = smaller(column_factors, rows - row), used = smaller(span, length - k);
        S* target = result + row * row_stride + blocks.first(block) * blocks.taps + k;
        const auto run = [&](T* out, int64_t stride) {
          multiply_tile<T, column_factors, decltype(vectors)::value>({grad + row * shape.all, shape.all, 1}, columns + k,
                                                                     blocks.pitch, {shape.all, column_sum}, out, stride,
                                                                     false);
        };
        if constexpr (sizeof(S) == sizeof(T))
          if (kept == column_factors && used == span) return run(target, row_stride);
        run(values, span);
        for (int64_t m = 0; m < kept; ++m) narrow_row(target + m * row_stride, values + m * span, used);
      });
  }
}

// The gradient of the weights, laid out as [set][group][f][s][t], and the sums of `fixed`.
template <typename S>
void accumulate_columns(const Accumulation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const int64_t in = problem.shifted_channels, out = problem.fixed_channels, taps = problem.taps.count;
  const ColumnProblem<T> shape(problem.fixed.size[0], problem.sets, problem.groups, problem.columns, in, taps);
  const ChannelBlocks<T>& blocks = shape.blocks;
  const int64_t block_size = shape.all * blocks.pitch, plane = problem.shifted.size[2] * problem.shifted.size[3] + 1;
  const int64_t rows = (out + column_factors - 1) / column_factors * column_factors;  // those behind are not kept
  const int64_t pair_size = blocks.count * block_size + rows * shape.all;
  T* packed = static_cast<T*>(runtime.scratch(scratch_call, shape.pairs * pair_size * sizeof(T)));
  parallel(runtime, shape.pairs, [&](int64_t pair) {
    T* columns = packed + pair * pair_size;
    T* grad = columns + blocks.count * block_size;
    T* copy = static_cast<T*>(runtime.scratch(scratch_block, plane * sizeof(T)));
    pack_pixels<S>(columns, shape, pair, problem.columns, problem.shifted, copy);
    pack_grad<S>(grad, shape.all, shape, pair, problem.fixed, problem.fixed_mask, out, problem.negative_slope);
    fill_zero(grad + out * shape.all, (rows - out) * shape.all);
  });

  const int64_t parts = (out + column_rows - 1) / column_rows;
  parallel(runtime, shape.pairs * parts, [&](int64_t unit) {
    const int64_t first = unit % parts * column_rows, pair = unit / parts, kept = smaller(column_rows, out - first);
    const T* columns = packed + pair * pair_size;
    const T* grad = columns + blocks.count * block_size + first * shape.all;
    S* result = static_cast<S*>(problem.result) + pair / shape.groups * problem.result_set_stride +
                pair % shape.groups * problem.result_group_stride + first * problem.result_fixed_stride;
    store_products<S>(result, problem.result_fixed_stride, shape, grad, kept, columns);
    S* sums = static_cast<S*>(problem.sums);
    for (int64_t f = 0; sums && f < kept; ++f) {
      double total = 0;
      for (int64_t p = 0; p < shape.all; ++p) total += grad[f * shape.all + p];
      narrow(sums[pair * out + first + f], T(total));
    }
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

// The weight gradient of thin layers by row_pairs.h, and the bias gradient beside it: a kernel of three rows, its
// columns side by side, few channels of `shifted`. For each of the four products
//     products[i][f][s, column] = sum over pairs p of fixed[i][f][p] * shifted[i][s][column + p].
// The channels of `fixed` go a few panels at a time, packed as they are needed and used while they are in the cache.
#pragma once

#include "accumulate.h"
#include "row_pairs.h"

namespace hyperconv::HYPERCONV_ISA {

// How a problem is cut into units of work, [set][group][chunk of the blocks][part of the panels], and what each leaves:
// [product][f][s, column] partial sums per chunk.
struct PairUnits {
  explicit PairUnits(const Accumulation& problem)
      : panels(cut_into_panels(problem.fixed_channels, fixed_limit)),
        parts((panels.count + 3) / 4),
        chunks(problem.chunks),
        row_blocks((problem.fixed.size[2] + problem.block_rows - 1) / problem.block_rows),
        blocks(problem.fixed.size[0] / problem.sets * row_blocks),
        columns(problem.taps.count / 3 * problem.shifted_channels),
        product(problem.fixed_channels * columns) {}
  Panels panels;
  int64_t parts, chunks, row_blocks, blocks, columns, product;
};

// Both factors of one block; their products lie `stride` elements apart, their channels `channel_stride`.
template <typename T>
struct PairBlock {
  const T* shifted;
  int64_t stride, channel_stride, pixels;
};

// The products of one panel, `width` channels of [product][f][pixel], over one block.
template <typename T>
void accumulate_pair_panel(const Accumulation& problem, const PairBlock<T>& block, const T* fixed[pair_products],
                           int64_t fixed_stride, int64_t width, T* products, const PairUnits& units, bool add) {
  const int64_t taps = problem.taps.count / 3, tile = taps_per_tile(static_cast<int>(width));
  const AccumulateFunction<T> run = accumulate_function<T>(width);
  for (int i = 0; i < pair_products; ++i, products += units.product) {
    for (int64_t k = 0; k < units.columns; k += tile) {
      const int64_t used = smaller(tile, units.columns - k);
      const T* shifted[12];
      for (int64_t j = 0; j < tile; ++j) {
        const int64_t column = smaller(k + j, units.columns - 1);
        shifted[j] = block.shifted + i * block.stride + column / taps * block.channel_stride +
                     problem.taps.offset[column % taps];
      }
      run(fixed[i], fixed_stride, shifted, block.pixels, {products + k, nullptr}, units.columns, used, add);
    }
  }
}

// The blocks and panels of one unit, in order.
template <typename S>
void accumulate_pair_unit(const Accumulation& problem, const Runtime& runtime, const PairUnits& units, int64_t unit,
                          Partial<Sum<S>> result) {
  using T = Sum<S>;
  const int64_t part = unit % units.parts, chunk = unit / units.parts % units.chunks;
  const int64_t pair = unit / units.parts / units.chunks, set = pair / problem.groups, group = pair % problem.groups;
  const int64_t first_panel = units.panels.count * part / units.parts;
  const int64_t last_panel = units.panels.count * (part + 1) / units.parts;
  const int64_t channels = problem.shifted_channels, pitch = problem.window.pitch, block_pairs = problem.block_rows / 2;
  // Vectors that end beyond the last pair meet zeros in both factors, for a NaN times zero is none.
  const PairWindow shifted_rows(problem.window.row_base[0], problem.window.column_base[0], block_pairs + 1, pitch,
                                2 * lanes<T> + problem.taps.count);
  const PairWindow fixed_rows(0, 0, block_pairs, pitch, lanes<T>);
  const Window shifted_window = shifted_rows.window(), fixed_window = fixed_rows.window();
  const int64_t stride = channels * shifted_window.channel_stride, fixed_stride = fixed_window.channel_stride;
  const int64_t first = panel_start(units.panels, first_panel), last = panel_start(units.panels, last_panel);
  T* shifted = static_cast<T*>(runtime.scratch(
      scratch_block, ((pair_products + 1) * stride + (last - first + fixed_limit) * fixed_stride) * sizeof(T)));
  T* packed = shifted + pair_products * stride;
  T* combined = packed + stride;
  T* fixed = combined + fixed_limit * fixed_stride;
  const T slope = T(problem.negative_slope);

  for (int64_t f = first; result.sums && f < last; ++f) result.sums[f] = 0;
  const int64_t begin = units.blocks * chunk / units.chunks, end = units.blocks * (chunk + 1) / units.chunks;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t sample = set * (problem.fixed.size[0] / problem.sets) + i / units.row_blocks;
    const int64_t first_row = i % units.row_blocks * problem.block_rows;
    const int64_t rows = smaller(problem.block_rows, problem.fixed.size[2] - first_row), pairs = (rows + 1) / 2;
    const int64_t pixels = (pairs * pitch + lanes<T> - 1) / lanes<T> * lanes<T>;
    pack_window<S>(packed, shifted_window, problem.shifted, problem.shifted_mask, sample, group * channels, channels,
                   first_row / 2, pairs + 1, slope);
    for (int64_t s = 0; s < channels; ++s) {
      const T* even = packed + s * shifted_window.channel_stride;
      transform_input_rows(shifted + s * shifted_window.channel_stride, stride, even, even + shifted_rows.plane(),
                           pitch, pixels + pitch - problem.fixed.size[3]);
    }
    pack_window<S>(fixed, fixed_window, problem.fixed, problem.fixed_mask, sample,
                   group * problem.fixed_channels + first, last - first, first_row / 2, pairs, slope);
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      const int64_t f = panel_start(units.panels, panel), width = panel_width(units.panels, panel);
      const T *even = fixed + (f - first) * fixed_stride, *odd = even + fixed_rows.plane();
      for (int64_t m = 0; m < width; ++m) {
        T* sums = combined + m * fixed_stride;
        const T total = transform_gradient_rows(sums, sums + fixed_rows.plane(), even + m * fixed_stride,
                                                odd + m * fixed_stride, pixels);
        if (result.sums) result.sums[f + m] += total;
      }
      const T* factors[pair_products] = {even, combined, combined + fixed_rows.plane(), odd};
      accumulate_pair_panel<T>(problem, {shifted, stride, shifted_window.channel_stride, pixels}, factors, fixed_stride,
                               width, result.products + f * units.columns, units, i > begin);
    }
  }
}

// The sums of all chunks, in order, for one row of the result.
template <typename S>
void store_pair_row(const Accumulation& problem, const Sum<S>* parts, const PairUnits& units, int64_t set,
                    int64_t group, int64_t f) {
  const int64_t taps = problem.taps.count / 3;
  S* result = static_cast<S*>(problem.result) + set * problem.result_set_stride +
              group * problem.result_group_stride + f * problem.result_fixed_stride;
  for (int64_t column = 0; column < units.columns; ++column) {
    Sum<S> products[pair_products] = {}, rows[3];
    const Sum<S>* source = parts + f * units.columns + column;
    for (int64_t chunk = 0; chunk < units.chunks; ++chunk)
      for (int i = 0; i < pair_products; ++i) products[i] += source[(chunk * pair_products + i) * units.product];
    transform_kernel_gradient(rows, products);
    for (int row = 0; row < 3; ++row)
      narrow(result[column / taps * problem.result_shifted_stride +
                    problem.taps.weight[row * taps + column % taps]], rows[row]);
  }
}

template <typename S>
void accumulate_pairs(const Accumulation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const PairUnits units(problem);
  const int64_t pairs = problem.sets * problem.groups, chunks = pairs * units.chunks;
  const int64_t part = pair_products * units.product;
  const int64_t sums_size = problem.sums ? chunks * problem.fixed_channels : 0;
  double* sums = static_cast<double*>(
      runtime.scratch(scratch_call, sums_size * sizeof(double) + chunks * part * sizeof(T)));
  T* parts = reinterpret_cast<T*>(sums + sums_size);
  parallel(runtime, chunks * units.parts, [&](int64_t unit) {
    const int64_t chunk = unit / units.parts;
    accumulate_pair_unit<S>(problem, runtime, units, unit,
                            {parts + chunk * part, problem.sums ? sums + chunk * problem.fixed_channels : nullptr});
  });
  if (problem.sums) store_sums<S>(problem, sums);
  parallel(runtime, pairs * problem.fixed_channels, [&](int64_t unit) {
    const int64_t pair = unit / problem.fixed_channels;
    store_pair_row<S>(problem, parts + pair * units.chunks * part, units, pair / problem.groups, pair % problem.groups,
                      unit % problem.fixed_channels);
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

// Accumulation over pixels: the weight gradient, and the bias gradient beside it. Both factors are packed at one
// pitch, with zeros in the columns of `fixed` beyond its image, so that it is a plain product of matrices whose inner
// dimension is the linear pixel axis:
//     result[f][s, t] = sum over p of fixed[f][p] * window[s][offset[t] + p].
// One more column of the second matrix, all ones, gives the sums of `fixed` itself.
#pragma once

#include "pack.h"
#include "parallel.h"

namespace hyperconv::HYPERCONV_ISA {

// Register tiles: M channels of `fixed` by K (channel, tap) pairs of `shifted`, one vector of pixel lanes each.
constexpr int fixed_limit = 4;
constexpr int taps_per_tile(int fixed) {
  return HYPERCONV_VECTOR_REGISTERS == 32 ? smaller(24 / fixed, 12) : smaller(12 / fixed, 6);
}

// What one chunk of the work adds up: [f][s, t] products and, unless nullptr, the sums of `fixed`.
template <typename T>
struct Partial {
  T* products;
  double* sums;
};

// products[m * stride + k] = (or += when `add`) the sum over `pixels`, a multiple of the lanes, of
// fixed[m] * shifted[k], for k < used; sums[m] += that of fixed[m] * shifted[used].
template <typename T, int M, int K>
void accumulate_tile(const T* fixed, int64_t fixed_stride, const T* const* shifted, int64_t pixels, Partial<T> result,
                     int64_t stride, int64_t used, bool add) {
  constexpr int sums = M * K;
  Vector<T> sum[sums];
#pragma GCC unroll 24
  for (int i = 0; i < sums; ++i) sum[i] = Vector<T>{};
  const T* source[K];
#pragma GCC unroll 12
  for (int k = 0; k < K; ++k) source[k] = shifted[k];
  for (int64_t p = 0; p < pixels; p += lanes<T>) {
    Vector<T> g[M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) load(g[m], fixed + m * fixed_stride + p);
#pragma GCC unroll 12
    for (int k = 0; k < K; ++k) {
      Vector<T> x;
      M > 1 ? load_once(x, source[k] + p) : load(x, source[k] + p);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) sum[m * K + k] += g[m] * x;
    }
  }

  alignas(64) T totals[sums + lanes<T>] = {};
#pragma GCC unroll 12
  for (int first = 0; first < sums; first += lanes<T>) {
    Vector<T> part[lanes<T>];
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i) part[i] = sum[first + i < sums ? first + i : sums - 1];
    sum_lanes<T>(part, totals + first);
  }
  for (int m = 0; m < M; ++m) {
    T* row = result.products + m * stride;
    if (add)
      for (int64_t k = 0; k < used; ++k) row[k] += totals[m * K + k];
    else
      for (int64_t k = 0; k < used; ++k) row[k] = totals[m * K + k];
    if (result.sums) result.sums[m] += totals[m * K + used];
  }
}

template <typename T>
using AccumulateFunction = void (*)(const T*, int64_t, const T* const*, int64_t, Partial<T>, int64_t, int64_t, bool);

template <typename T>
AccumulateFunction<T> accumulate_function(int64_t fixed) {
  switch (fixed) {
    case 1: return accumulate_tile<T, 1, taps_per_tile(1)>;
    case 2: return accumulate_tile<T, 2, taps_per_tile(2)>;
    case 3: return accumulate_tile<T, 3, taps_per_tile(3)>;
    default: return accumulate_tile<T, 4, taps_per_tile(4)>;
  }
}

// The packed factors of one block.
template <typename T>
struct BlockFactors {
  const T *fixed, *shifted, *ones;
  int64_t fixed_stride, pixels;
};

// Adds one block; the first one of a chunk sets the products.
template <typename T>
void accumulate_block(const Accumulation& problem, const BlockFactors<T>& block, bool first_block, Partial<T> result) {
  const int64_t taps = problem.taps.count, columns = problem.shifted_channels * taps;
  const Panels panels = cut_into_panels(problem.fixed_channels, fixed_limit);
  for (int64_t panel = 0; panel < panels.count; ++panel) {
    const int64_t f = panel_start(panels, panel), width = panel_width(panels, panel);
    const int64_t tile = taps_per_tile(static_cast<int>(width));
    const AccumulateFunction<T> run = accumulate_function<T>(width);
    const T* channel = block.shifted;
    int64_t tap = 0;
    for (int64_t k = 0; k < columns + (result.sums != nullptr); k += tile) {
      const int64_t used = smaller(tile, columns - k);
      const T* shifted[12];
      for (int64_t i = 0; i < tile; ++i) {
        shifted[i] = i < used ? channel + problem.taps.offset[tap] : block.ones;
        if (i < used && ++tap == taps) {
          tap = 0;
          channel += problem.window.channel_stride;
        }
      }
      const bool has_ones = result.sums && used < tile;
      run(block.fixed + f * block.fixed_stride, block.fixed_stride, shifted, block.pixels,
          {result.products + f * columns + k, has_ones ? result.sums + f : nullptr}, columns, used, !first_block);
    }
  }
}

// The blocks [begin, end) of the samples of one set, in order; block = sample of the set * row blocks + row block.
template <typename S>
void accumulate_chunk(const Accumulation& problem, const Runtime& runtime, int64_t set, int64_t group, int64_t begin,
                      int64_t end, Partial<Sum<S>> result) {
  using T = Sum<S>;
  const Window& window = problem.window;
  const int64_t height = problem.fixed.size[2];
  const int64_t row_blocks = (height + problem.block_rows - 1) / problem.block_rows;
  const int64_t samples_per_set = problem.fixed.size[0] / problem.sets;
  const int64_t zero = 0;
  const int64_t block_pixels = problem.block_rows * window.pitch;
  Window plain{1, 1, &zero, &zero, 1, 1, 0, problem.block_rows, window.pitch, 0};
  plain.channel_stride = ((block_pixels + lanes<T> - 1) / lanes<T> | 1) * lanes<T>;

  const int64_t fixed_elements = problem.fixed_channels * plain.channel_stride;
  const int64_t shifted_elements = problem.shifted_channels * window.channel_stride;
  const int64_t elements = fixed_elements + shifted_elements + lanes<T> + plain.channel_stride;
  T* fixed = static_cast<T*>(runtime.scratch(scratch_block, elements * sizeof(T)));
  T* shifted = fixed + fixed_elements;
  fill_zero(shifted + shifted_elements, lanes<T>);
  T* ones = shifted + shifted_elements + lanes<T>;
  for (int64_t i = 0; i < plain.channel_stride; ++i) ones[i] = 1;
  if (result.sums)
    for (int64_t f = 0; f < problem.fixed_channels; ++f) result.sums[f] = 0;
  const T slope = T(problem.negative_slope);

  for (int64_t block = begin; block < end; ++block) {
    const int64_t sample = set * samples_per_set + block / row_blocks;
    const int64_t first_row = block % row_blocks * problem.block_rows;
    const int64_t rows = smaller(problem.block_rows, height - first_row);
    const int64_t end = (rows - 1) * window.pitch + problem.fixed.size[3];
    const int64_t pixels = (end + lanes<T> - 1) / lanes<T> * lanes<T>;
    pack_window<S>(fixed, plain, problem.fixed, problem.fixed_mask, sample, group * problem.fixed_channels,
                   problem.fixed_channels, first_row, rows, slope);
    pack_window<S>(shifted, window, problem.shifted, problem.shifted_mask, sample, group * problem.shifted_channels,
                   problem.shifted_channels, first_row, rows + window.row_span, slope);
    accumulate_block<T>(problem, {fixed, shifted, ones, plain.channel_stride, pixels}, block == begin, result);
  }
}

// The sums of all chunks, in order, for one row of the result.
template <typename S>
void store_row(const Accumulation& problem, const Sum<S>* parts, int64_t part, int64_t set, int64_t group, int64_t f) {
  const int64_t taps = problem.taps.count;
  const Sum<S>* source = parts + f * problem.shifted_channels * taps;
  S* result = static_cast<S*>(problem.result) + set * problem.result_set_stride +
              group * problem.result_group_stride + f * problem.result_fixed_stride;
  for (int64_t s = 0; s < problem.shifted_channels; ++s, result += problem.result_shifted_stride) {
    for (int64_t t = 0; t < taps; ++t, ++source) {
      Sum<S> total = source[0];
      for (int64_t chunk = 1; chunk < problem.chunks; ++chunk) total += source[chunk * part];
      narrow(result[problem.taps.weight[t]], total);
    }
  }
}

// The same for the sums of `fixed`.
template <typename S>
void store_sums(const Accumulation& problem, const double* parts) {
  const int64_t channels = problem.fixed_channels, pairs = problem.sets * problem.groups;
  S* result = static_cast<S*>(problem.sums);
  for (int64_t pair = 0; pair < pairs; ++pair, parts += problem.chunks * channels, result += channels) {
    for (int64_t f = 0; f < channels; ++f) {
      double total = 0;
      for (int64_t chunk = 0; chunk < problem.chunks; ++chunk) total += parts[chunk * channels + f];
      narrow(result[f], Sum<S>(total));
    }
  }
}

template <typename S>
void accumulate(const Accumulation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const int64_t row_blocks = (problem.fixed.size[2] + problem.block_rows - 1) / problem.block_rows;
  const int64_t blocks = problem.fixed.size[0] / problem.sets * row_blocks, chunks = problem.chunks;
  const int64_t part = problem.fixed_channels * problem.shifted_channels * problem.taps.count;
  const int64_t pairs = problem.sets * problem.groups;
  const bool direct = problem.result_is_part && sizeof(S) == sizeof(T);
  const int64_t units = pairs * chunks, sums_size = problem.sums ? units * problem.fixed_channels : 0;
  double* sums = static_cast<double*>(
      runtime.scratch(scratch_call, sums_size * sizeof(double) + (direct ? 0 : units * part * sizeof(T))));
  T* parts = direct ? static_cast<T*>(problem.result) : reinterpret_cast<T*>(sums + sums_size);
  parallel(runtime, units, [&](int64_t unit) {
    const int64_t pair = unit / chunks, chunk = unit % chunks;
    accumulate_chunk<S>(problem, runtime, pair / problem.groups, pair % problem.groups, blocks * chunk / chunks,
                        blocks * (chunk + 1) / chunks,
                        {parts + unit * part, problem.sums ? sums + unit * problem.fixed_channels : nullptr});
  });
  if (problem.sums) store_sums<S>(problem, sums);
  if (direct) return;
  parallel(runtime, pairs * problem.fixed_channels, [&](int64_t unit) {
    const int64_t pair = unit / problem.fixed_channels;
    store_row<S>(problem, parts + pair * chunks * part, part, pair / problem.groups, pair % problem.groups,
                 unit % problem.fixed_channels);
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

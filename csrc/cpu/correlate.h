// Correlation: the convolution, and (with transposed weights) its input gradient.
#pragma once

#include "pack.h"
#include "parallel.h"
#include "store.h"

namespace hyperconv::HYPERCONV_ISA {

// Register tiles: M output channels by V vectors of pixels, so that M * V sums, V inputs and a weight fit.
constexpr int panel_limit = HYPERCONV_VECTOR_REGISTERS == 32 ? 8 : 4;
constexpr int tile_sums = HYPERCONV_VECTOR_REGISTERS == 32 ? 24 : 12;
constexpr int tile_vectors(int channels) {
  return smaller(tile_sums / channels, HYPERCONV_VECTOR_REGISTERS == 32 ? 8 : 6);
}
constexpr int longest_tile = tile_vectors(1);

template <typename T>
struct TileInput {
  const T* pixels;  // first pixel of the tile, offset 0, channel 0
  int64_t channels, channel_stride;
  const int64_t* offsets;
  int64_t taps;
  int64_t channels_per_sum;  // long sums are sums of shorter ones, to lose less precision
};

// Channels of one partial sum of about 100 products, as even as possible.
HYPERCONV_INLINE int64_t channels_per_sum(int64_t channels, int64_t taps) {
  const int64_t parts = larger(smaller((channels * taps + 99) / 100, channels), 1);
  return (channels + parts - 1) / parts;
}

// out[m][pixel] = panel bias + sum over channels and taps; `panel` as packed by pack_weight_panel.
template <typename T, int M, int V>
void correlate_tile(const TileInput<T>& input, const T* panel, T* out) {
  Vector<T> sum[M][V];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) broadcast(sum[m][v], panel[m]);
  panel += M;

  const T* pixels = input.pixels;
  for (int64_t c = 0;;) {
    const int64_t end = smaller(c + input.channels_per_sum, input.channels);
    for (; c < end; ++c, pixels += input.channel_stride) {
      for (int64_t t = 0; t < input.taps; ++t, panel += M)
        multiply_add<T, M, V>(sum, pixels + input.offsets[t], panel, 1);
    }
    const bool first = c <= input.channels_per_sum;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        T* target = out + (m * V + v) * lanes<T>;
        Vector<T> before = {};
        if (!first) load(before, target);
        store(target, Vector<T>(before + sum[m][v]));
        sum[m][v] = Vector<T>{};
      }
    }
    if (c == input.channels) return;
  }
}

template <typename T>
using TileFunction = void (*)(const TileInput<T>&, const T* panel, T* out);

template <typename T>
TileFunction<T> tile_function(int64_t channels, bool full) {
#define HYPERCONV_TILE(M) full ? correlate_tile<T, M, tile_vectors(M)> : correlate_tile<T, M, 1>
  switch (channels) {
    case 1: return HYPERCONV_TILE(1);
    case 2: return HYPERCONV_TILE(2);
    case 3: return HYPERCONV_TILE(3);
#if HYPERCONV_VECTOR_REGISTERS == 32
    case 4: return HYPERCONV_TILE(4);
    case 5: return HYPERCONV_TILE(5);
    case 6: return HYPERCONV_TILE(6);
    case 7: return HYPERCONV_TILE(7);
    default: return HYPERCONV_TILE(8);
#else
    default: return HYPERCONV_TILE(4);
#endif
  }
#undef HYPERCONV_TILE
}

// visit(tile offset, row, column, count) for every part of the pixels [begin, end) that lies in one row of the output.
template <typename Visit>
HYPERCONV_INLINE void for_each_segment(int64_t begin, int64_t end, int64_t pitch, int64_t columns, const Visit& visit) {
  int64_t row = begin / pitch, column = begin % pitch;
  for (int64_t p = begin; p < end; ++row, column = 0) {
    const int64_t count = smaller(columns - column, end - p);
    if (count > 0) visit(p - begin, row, column, count);
    p += pitch - column;
  }
}

// The tile of `vectors` vectors from pixel `begin` on, for the panels [first, last), which are of one width; pixels
// from `end` on are not stored.
template <typename S>
void correlate_pixels(const Correlation& problem, TileInput<Sum<S>> input, const Sum<S>* weights, const Panels& panels,
                      int64_t first, int64_t last, int64_t begin, int64_t vectors, int64_t end,
                      const Target<S>& target) {
  using T = Sum<S>;
  const int64_t width = panel_width(panels, first), pitch = problem.window.pitch;
  const int64_t columns = problem.output.size[3], tile = vectors * lanes<T>;
  const TileFunction<T> run = tile_function<T>(width, vectors > 1);
  alignas(64) T values[tile_sums * lanes<T>], mask[tile_sums * lanes<T>];
  const int64_t per_channel = 1 + problem.in_channels * problem.taps.count;

  end = smaller(end, begin + tile);
  input.pixels += begin;
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t channel = panel_start(panels, panel);
    run(input, weights + channel * per_channel, values);
    finish<S>(values, mask, tile, channel, width, problem, target,
              [&](const auto& visit) { for_each_segment(begin, end, pitch, columns, visit); });
  }
}

// One block of output rows of one sample and group, from its packed window.
template <typename S>
void correlate_block(const Correlation& problem, const TileInput<Sum<S>>& input, const Sum<S>* weights, int64_t rows,
                     const Target<S>& target) {
  using T = Sum<S>;
  const Panels panels = cut_into_panels(problem.out_channels, panel_limit);
  const int64_t end = (rows - 1) * problem.window.pitch + problem.output.size[3];
  const int64_t bounds[3] = {0, panels.wide, panels.count};
  for (int part = 0; part < 2; ++part) {
    const int64_t first = bounds[part], last = bounds[part + 1];
    if (first == last) continue;
    const int64_t width = panel_width(panels, first), full = tile_vectors(static_cast<int>(width));
    for (int64_t p = 0; p < end;) {
      const int64_t left = (end - p + lanes<T> - 1) / lanes<T>;
      // A tile of one vector is bound by latency: about four cycles a tap, against width * full / 2.
      const int64_t vectors = left * 4 < width * full / 2 ? 1 : full;
      correlate_pixels<S>(problem, input, weights, panels, first, last, p, vectors, end, target);
      p += vectors * lanes<T>;
    }
  }
}

template <typename S>
void correlate(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const Window& window = problem.window;
  const int64_t samples = problem.output.size[0], height = problem.output.size[2];
  const int64_t samples_per_set = samples / problem.different_sets;
  const Panels panels = cut_into_panels(problem.out_channels, panel_limit);
  const int64_t per_channel = 1 + problem.in_channels * problem.taps.count;
  const int64_t group_weights = problem.out_channels * per_channel;
  const int64_t pairs = problem.different_sets * problem.groups;
  T* weights = static_cast<T*>(runtime.scratch(scratch_call, pairs * group_weights * sizeof(T)));
  parallel(runtime, pairs * panels.count, [&](int64_t unit) {
    const int64_t panel = unit % panels.count, set_group = unit / panels.count;
    const int64_t first = panel_start(panels, panel);
    pack_weight_panel<S>(weights + set_group * group_weights + first * per_channel, problem,
                         set_group / problem.groups, set_group % problem.groups, first, panel_width(panels, panel));
  });

  const int64_t blocks = (height + problem.block_rows - 1) / problem.block_rows;
  parallel(runtime, samples * problem.groups * blocks, [&](int64_t unit) {
    const int64_t first_row = unit % blocks * problem.block_rows, sample_group = unit / blocks;
    const int64_t group = sample_group % problem.groups, sample = sample_group / problem.groups;
    const int64_t rows = smaller(problem.block_rows, height - first_row);
    const int64_t set = sample / samples_per_set;
    const int64_t elements = problem.in_channels * window.channel_stride, beyond = longest_tile * lanes<T>;
    T* packed = static_cast<T*>(runtime.scratch(scratch_block, (elements + beyond) * sizeof(T)));
    fill_zero(packed + elements, beyond);
    pack_window<S>(packed, window, problem.input, problem.input_mask, sample, group * problem.in_channels,
                   problem.in_channels, first_row, rows + window.row_span, T(problem.negative_slope));
    const TileInput<T> input{packed, problem.in_channels, window.channel_stride, problem.taps.offset,
                             problem.taps.count, channels_per_sum(problem.in_channels, problem.taps.count)};
    correlate_block<S>(problem, input, weights + (set * problem.groups + group) * group_weights, rows,
                       Target<S>(problem, sample, group * problem.out_channels, first_row));
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

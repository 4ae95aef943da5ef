// Correlation with few output channels, for dense kernels at step 1: one product of matrices gives every output channel
// and tap a plane of its own,
//     planes[o, t][pixel] = sum over channels c of weight[o, c, t] * input[c][pixel],
// and an output is the sum of its shifted planes ("kn2row", Vasudevan, Anderson and Gregg 2017). The many channels of
// the input are read where they are, each pixel from memory once, without a padded copy.
#pragma once

#include "correlate.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int planes_per_panel = 3;
constexpr int plane_tile = tile_vectors(planes_per_panel);

// How a problem is laid out: planes of [span + strip_rows][columns] elements, and a tile more that is computed beyond.
struct PlaneShape {
  explicit PlaneShape(const Correlation& problem)
      : taps(problem.taps.count),
        panels((problem.out_channels * taps + planes_per_panel - 1) / planes_per_panel),
        columns(problem.input.size[3]),
        strip_rows(problem.strip_rows),
        span(problem.window.row_span),
        first_row(problem.window.row_base[0]),
        panel_elements(planes_per_panel * (1 + problem.in_channels)) {}
  int64_t taps, panels, columns, strip_rows, span, first_row, panel_elements;

  int64_t plane_stride() const { return (span + strip_rows) * columns + plane_tile * lanes<float>; }
};

// One panel of planes, in the order (output channel, tap): no bias, then [input channel][plane] weights, zero beyond
// the last plane.
template <typename S>
void pack_plane_panel(Sum<S>* target, const Correlation& problem, int64_t set, int64_t group, int64_t panel) {
  fill_zero(target, planes_per_panel);
  target += planes_per_panel;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride;
  for (int64_t c = 0; c < problem.in_channels; ++c, weight += problem.weight_in_stride) {
    for (int64_t i = 0; i < planes_per_panel; ++i, ++target) {
      const int64_t plane = panel * planes_per_panel + i, o = plane / problem.taps.count;
      const int64_t tap = problem.taps.weight[plane % problem.taps.count];
      *target = o < problem.out_channels ? widen(weight[o * problem.weight_out_stride + tap]) : 0;
    }
  }
}

// Consecutive pixels of all channels, and of the mask over them where there is one.
template <typename T>
struct PixelRun {
  const T* data;
  int64_t channel_stride;
  const T* mask;
  int64_t mask_channel_stride;

  HYPERCONV_INLINE void prefetch(int64_t channel, int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; i += 64 / sizeof(T)) {
      __builtin_prefetch(data + channel * channel_stride + i);
      if (mask) __builtin_prefetch(mask + channel * mask_channel_stride + i);
    }
  }
};

// All planes of `pixels` consecutive pixels, at least a tile of them; `masked` is memory for a tile of all channels.
template <typename T>
void compute_planes(T* planes, const PlaneShape& shape, const PixelRun<T>& run, int64_t channels, T slope, T* masked,
                    const T* weights, int64_t pixels) {
  constexpr int64_t tile = plane_tile * lanes<T>, zero = 0;
  alignas(64) T values[planes_per_panel * tile];
  for (int64_t p = 0; p < pixels; p += tile) {
    const int64_t begin = larger(smaller(p, pixels - tile), 0);  // the last tile overlaps the one before
    TileInput<T> input{run.data + begin, channels, run.channel_stride, &zero, 1, channels_per_sum(channels, 1)};
    if (run.mask) {
      for (int64_t c = 0; c < channels; ++c)
        copy_vectors<T>(masked + c * tile, {input.pixels + c * run.channel_stride, 1,
                                            run.mask + c * run.mask_channel_stride + begin, 1}, slope, tile);
      input.pixels = masked, input.channel_stride = tile;
    }
    for (int64_t c = 0; c < channels; ++c) run.prefetch(c, begin + tile, begin + 2 * tile);
    T* target = planes + begin;
    for (int64_t panel = 0; panel < shape.panels; ++panel) {
      correlate_tile<T, planes_per_panel, plane_tile>(input, weights + panel * shape.panel_elements, values);
      for (int64_t i = 0; i < planes_per_panel; ++i, target += shape.plane_stride())
        copy_elements(target, values + i * tile, tile);
    }
  }
}

// The taps of one output row and channel whose input row lies in the image: where their planes hold output column 0,
// and how many columns of the input away that is.
template <typename T>
struct RowTaps {
  const T* source[most_plane_taps];
  int64_t shift[most_plane_taps], count;
};

// `planes` are those of the channel, at the first pixel of input row `first`.
template <typename T>
RowTaps<T> row_taps(const Correlation& problem, const PlaneShape& shape, const T* planes, int64_t first, int64_t row) {
  RowTaps<T> result;
  result.count = 0;
  for (int64_t tap = 0; tap < shape.taps; ++tap, planes += shape.plane_stride()) {
    const int64_t input_row = row + shape.first_row + problem.taps.offset[tap] / problem.window.pitch;
    if (input_row < 0 || input_row >= problem.input.size[2]) continue;
    const int64_t shift = problem.window.column_base[0] + problem.taps.offset[tap] % problem.window.pitch;
    result.source[result.count] = planes + (input_row - first) * shape.columns + shift;
    result.shift[result.count++] = shift;
  }
  return result;
}

// One row of one output channel: the bias and, in the order of the taps, what lies in the image.
template <typename T>
void sum_planes(T* target, const Correlation& problem, const PlaneShape& shape, const RowTaps<T>& taps, T bias) {
  const int64_t outputs = problem.output.size[3], least_shift = problem.window.column_base[0];
  const int64_t most_shift = least_shift + problem.window.pitch - outputs;
  const int64_t begin = smaller(larger(-least_shift, 0), outputs);
  const int64_t inside = larger(smaller(outputs, shape.columns - most_shift), begin);
  const int64_t end = inside - begin >= lanes<T> ? inside : begin;
  const auto sum_at = [&](int64_t column) {
    T sum = bias;
    for (int64_t i = 0; i < taps.count; ++i) {
      const int64_t input_column = column + taps.shift[i];
      if (input_column >= 0 && input_column < shape.columns) sum += taps.source[i][column];
    }
    target[column] = sum;
  };
  for (int64_t column = 0; column < begin; ++column) sum_at(column);
  for (int64_t column = end; column < outputs; ++column) sum_at(column);
  for (int64_t p = begin; p < end; p += lanes<T>) {
    const int64_t column = smaller(p, end - lanes<T>);
    Vector<T> sum, value;
    broadcast(sum, bias);
    for (int64_t i = 0; i < taps.count; ++i) {
      load(value, taps.source[i] + column);
      sum += value;
    }
    store(target + column, sum);
  }
}

// The output rows [begin, end) of one sample and group, strip by strip of the input rows they read.
template <typename S>
void correlate_plane_block(const Correlation& problem, const PlaneShape& shape, const Runtime& runtime,
                           const Sum<S>* weights, const Sum<S>* bias, int64_t sample, int64_t group, int64_t begin,
                           int64_t end) {
  using T = Sum<S>;
  constexpr int64_t tile = plane_tile * lanes<T>;
  const int64_t in = problem.in_channels, out = problem.out_channels, outputs = problem.output.size[3], zero = 0;
  const int64_t plane_stride = shape.plane_stride(), planes_size = shape.panels * planes_per_panel * plane_stride;
  const int64_t pitch = (outputs + lanes<T> - 1) / lanes<T> * lanes<T>;
  Window plain{1, 1, &zero, &zero, 1, 1, 0, shape.strip_rows, shape.columns, 0};
  plain.channel_stride = ((shape.strip_rows * shape.columns + tile + 15) / 16 | 1) * 16;
  const Image &input = problem.input, &input_mask = problem.input_mask;
  const auto consecutive = [&](const Image& image) { return image.stride[3] == 1 && image.stride[2] == shape.columns; };
  const bool in_place =
      sizeof(S) == sizeof(T) && consecutive(input) && (!input_mask.data || consecutive(input_mask));
  const int64_t packed_size = in * plain.channel_stride;
  T* planes = static_cast<T*>(
      runtime.scratch(scratch_block, (planes_size + packed_size + 2 * out * pitch + tile) * sizeof(T)));
  T* packed = planes + planes_size;
  T* values = packed + packed_size + tile;
  T* mask = values + out * pitch;

  const Target<S> target(problem, sample, group * out, 0);
  const int64_t low = larger(begin + shape.first_row, 0);
  const int64_t high = smaller(end + shape.first_row + shape.span, input.size[2]);
  int64_t row = begin;
  for (int64_t first = low, next; row < end; first = next) {
    next = smaller(first + shape.strip_rows, larger(high, first));
    const int64_t pixels = (next - first) * shape.columns;
    PixelRun<T> run{packed, plain.channel_stride, nullptr, 0};
    if (in_place && pixels >= tile) {
      const auto first_pixel = [&](const Image& image) {
        return static_cast<const T*>(image.data) + sample * image.stride[0] + group * in * image.stride[1] +
               first * image.stride[2];
      };
      run = {first_pixel(input), input.stride[1], nullptr, input_mask.stride[1]};
      if (input_mask.data) run.mask = first_pixel(input_mask);
    } else if (pixels > 0) {
      pack_window<S>(packed, plain, input, input_mask, sample, group * in, in, first, next - first,
                     T(problem.negative_slope));
    }
    compute_planes(planes + shape.span * shape.columns, shape, run, in, T(problem.negative_slope), packed, weights,
                   pixels);
    for (; row < end && (row + shape.first_row + shape.span < next || next >= high); ++row) {
      for (int64_t o = 0; o < out; ++o) {
        const T* own = planes + o * shape.taps * plane_stride;
        sum_planes(values + o * pitch, problem, shape, row_taps(problem, shape, own, first - shape.span, row), bias[o]);
      }
      finish<S>(values, mask, pitch, 0, out, problem, target,
                [&](const auto& visit) { visit(0, row, 0, outputs); });
    }
    for (int64_t plane = 0; row < end && plane < out * shape.taps; ++plane)
      for (int64_t i = 0; i < shape.span; ++i)
        copy_elements(planes + plane * plane_stride + i * shape.columns,
                      planes + plane * plane_stride + (next - first + i) * shape.columns, shape.columns);
  }
}

template <typename S>
void correlate_planes(const Correlation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const PlaneShape shape(problem);
  const int64_t samples = problem.output.size[0], height = problem.output.size[2], out = problem.out_channels;
  const int64_t samples_per_set = samples / problem.different_sets;
  const int64_t pairs = problem.different_sets * problem.groups, pair_weights = shape.panels * shape.panel_elements;
  T* weights = static_cast<T*>(runtime.scratch(scratch_call, pairs * (pair_weights + out) * sizeof(T)));
  T* biases = weights + pairs * pair_weights;
  parallel(runtime, pairs, [&](int64_t pair) {
    pack_bias<S>(biases + pair * out, problem, pair / problem.groups, pair % problem.groups, 0, out);
    for (int64_t panel = 0; panel < shape.panels; ++panel)
      pack_plane_panel<S>(weights + pair * pair_weights + panel * shape.panel_elements, problem,
                          pair / problem.groups, pair % problem.groups, panel);
  });
  const int64_t blocks = (height + problem.block_rows - 1) / problem.block_rows;
  parallel(runtime, samples * problem.groups * blocks, [&](int64_t unit) {
    const int64_t begin = unit % blocks * problem.block_rows, sample_group = unit / blocks;
    const int64_t sample = sample_group / problem.groups, group = sample_group % problem.groups;
    const int64_t pair = sample / samples_per_set * problem.groups + group;
    correlate_plane_block<S>(problem, shape, runtime, weights + pair * pair_weights, biases + pair * out, sample, group,
                             begin, smaller(begin + problem.block_rows, height));
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

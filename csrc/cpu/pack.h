// Packing: copies of image blocks in the layout of geometry.h, and of weights in the order the register tiles read.
#pragma once

#include "convert.h"
#include "interface.h"

namespace hyperconv::HYPERCONV_ISA {

// A row of the source and, where the source is masked, the same row of the mask.
template <typename S>
struct SourceRow {
  const S* data;
  int64_t stride;
  const S* mask;
  int64_t mask_stride;
};

template <typename S>
HYPERCONV_INLINE Sum<S> masked(Sum<S> value, S mask, Sum<S> slope) {
  return value * (widen(mask) > 0 ? Sum<S>(1) : slope);
}

HYPERCONV_INLINE void widen_row(float* target, const float* source, int64_t count) {
  copy_elements(target, source, count);
}
HYPERCONV_INLINE void widen_row(double* target, const double* source, int64_t count) {
  copy_elements(target, source, count);
}
template <typename S>
HYPERCONV_INLINE void widen_row(float* __restrict target, const S* __restrict source, int64_t count) {
  for (int64_t i = 0; i < count; ++i) target[i] = widen(source[i]);
}

template <typename S>
HYPERCONV_INLINE void copy_row(Sum<S>* __restrict target, SourceRow<S> row, Sum<S> slope, int64_t count) {
  const S* __restrict data = row.data;
  const S* __restrict mask = row.mask;
  if (mask && row.stride == 1 && row.mask_stride == 1) {
    for (int64_t i = 0; i < count; ++i) target[i] = masked<S>(widen(data[i]), mask[i], slope);
  } else if (mask) {
    for (int64_t i = 0; i < count; ++i)
      target[i] = masked<S>(widen(data[i * row.stride]), mask[i * row.mask_stride], slope);
  } else if (row.stride == 1) {
    widen_row(target, data, count);
  } else {
    for (int64_t i = 0; i < count; ++i) target[i] = widen(data[i * row.stride]);
  }
}

// Number of i >= 0 with base + i * step < limit.
HYPERCONV_INLINE int64_t steps_below(int64_t limit, int64_t base, int64_t step) {
  const int64_t distance = larger(limit - base, 0);
  return step == 1 ? distance : (distance + step - 1) / step;
}

// Zeros behind the packed rows of every plane and behind every channel. Tiles read there for results that are never
// stored: stale memory could hold denormal numbers, which are slow, or in an accumulation a NaN.
template <typename T>
void clear_rest(T* target, const Window& window, int64_t channels, int64_t rows) {
  const int64_t planes = window.row_planes * window.column_planes, plane = window.rows * window.pitch;
  for (int64_t channel = 0; channel < channels; ++channel, target += window.channel_stride) {
    for (int64_t p = 0; p < planes; ++p) fill_zero(target + p * plane + rows * window.pitch, plane - rows * window.pitch);
    fill_zero(target + planes * plane, window.channel_stride - planes * plane);
  }
}

// `rows` rows of every plane of the channels first_channel, first_channel + 1, ... of one sample, for the output rows
// from first_row on, into `target` ([channel][plane][row][pitch]); zeros outside the image.
template <typename S>
void pack_window(Sum<S>* target, const Window& window, const Image& image, const Image& mask, int64_t sample,
                 int64_t first_channel, int64_t channels, int64_t first_row, int64_t rows, Sum<S> slope) {
  const S* data = static_cast<const S*>(image.data) + sample * image.stride[0] + first_channel * image.stride[1];
  const S* mask_data = static_cast<const S*>(mask.data);
  if (mask_data) mask_data += sample * mask.stride[0] + first_channel * mask.stride[1];

  for (int64_t plane = 0; plane < window.row_planes * window.column_planes; ++plane) {
    const int64_t row_base = window.row_base[plane / window.column_planes] + first_row * window.row_step;
    const int64_t base = window.column_base[plane % window.column_planes], step = window.column_step;
    const int64_t end = smaller(steps_below(image.size[3], base, step), window.pitch);
    const int64_t begin = smaller(steps_below(0, base, step), end), x = base + begin * step;

    const auto pack_row = [&](int64_t channel, int64_t row) __attribute__((always_inline)) {
      Sum<S>* line = target + channel * window.channel_stride + (plane * window.rows + row) * window.pitch;
      const int64_t y = row_base + row * window.row_step;
      if (y < 0 || y >= image.size[2] || begin == end) return fill_zero(line, window.pitch);
      SourceRow<S> source{data + channel * image.stride[1] + y * image.stride[2] + x * image.stride[3],
                          step * image.stride[3], nullptr, 0};
      if (mask_data) {
        source.mask = mask_data + channel * mask.stride[1] + y * mask.stride[2] + x * mask.stride[3];
        source.mask_stride = step * mask.stride[3];
      }
      fill_zero(line, begin);
      copy_row<S>(line + begin, source, slope, end - begin);
      fill_zero(line + end, window.pitch - end);
    };

    if (image.stride[1] < image.stride[3]) {  // channels_last: finish a row in all channels while it is cached
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t channel = 0; channel < channels; ++channel) pack_row(channel, row);
    } else {
      for (int64_t channel = 0; channel < channels; ++channel)
        for (int64_t row = 0; row < rows; ++row) pack_row(channel, row);
    }
  }
  clear_rest(target, window, channels, rows);
}

// One panel of `width` output channels: its biases, then [input channel][tap][width] weights.
template <typename S>
void pack_weight_panel(Sum<S>* target, const Correlation& problem, int64_t set, int64_t group, int64_t first,
                       int64_t width) {
  const S* bias = static_cast<const S*>(problem.bias);
  const int64_t channel = group * problem.out_channels + first;
  for (int64_t m = 0; m < width; ++m)
    target[m] = bias ? widen(bias[set * problem.bias_set_stride + (channel + m) * problem.bias_stride]) : 0;
  target += width;

  const int64_t stride = problem.weight_out_stride;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride + first * stride;
  for (int64_t c = 0; c < problem.in_channels; ++c, weight += problem.weight_in_stride) {
    for (int64_t t = 0; t < problem.taps.count; ++t, target += width) {
      const S* source = weight + problem.taps.weight[t];
      for (int64_t m = 0; m < width; ++m) target[m] = widen(source[m * stride]);
    }
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

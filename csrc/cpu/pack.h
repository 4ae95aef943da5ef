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

// The rows and columns [begin, end) of one plane of a window that lie in the image, and the image position of the
// first.
struct Inside {
  HYPERCONV_INLINE Inside(int64_t base, int64_t step, int64_t size, int64_t length)
      : end(smaller(steps_below(size, base, step), length)),
        begin(smaller(steps_below(0, base, step), end)),
        first(base + begin * step) {}
  int64_t end, begin, first;
};

// One plane of one channel. Everything that is not a row of the image is zero, to the last element of the plane.
template <typename S>
void pack_plane(Sum<S>* line, const Window& window, const Inside& rows, const Inside& columns, SourceRow<S> source,
                int64_t row_stride, int64_t mask_row_stride, Sum<S> slope) {
  const int64_t count = columns.end - columns.begin, gap = window.pitch - count;
  Sum<S>* const end = line + window.rows * window.pitch;
  if (rows.begin == rows.end || count == 0) return fill_zero(line, end - line);
  const int64_t before = rows.begin * window.pitch + columns.begin;
  fill_zero(line, before);
  line += before;
  for (int64_t row = rows.begin; row < rows.end - 1; ++row) {
    copy_row<S>(line, source, slope, count);
    fill_zero(line + count, gap);
    line += window.pitch;
    source.data += row_stride;
    if (source.mask) source.mask += mask_row_stride;
  }
  copy_row<S>(line, source, slope, count);
  fill_zero(line + count, end - line - count);
}

// `rows` rows of every plane of `channels` channels from first_channel on of one sample, for the output rows from
// first_row on, into `target` ([channel][plane][row][pitch]). Zeros outside the image and behind the rows: tiles read
// there for results that are never stored, and stale memory could hold denormal numbers, which are slow, or a NaN.
template <typename S>
void pack_window(Sum<S>* target, const Window& window, const Image& image, const Image& mask, int64_t sample,
                 int64_t first_channel, int64_t channels, int64_t first_row, int64_t rows, Sum<S> slope) {
  const S* data = static_cast<const S*>(image.data) + sample * image.stride[0] + first_channel * image.stride[1];
  const S* mask_data = static_cast<const S*>(mask.data);
  if (mask_data) mask_data += sample * mask.stride[0] + first_channel * mask.stride[1];
  const int64_t planes = window.row_planes * window.column_planes, plane_elements = window.rows * window.pitch;

  for (int64_t channel = 0; channel < channels; ++channel, target += window.channel_stride) {
    for (int64_t plane = 0; plane < planes; ++plane) {
      const Inside y(window.row_base[plane / window.column_planes] + first_row * window.row_step, window.row_step,
                     image.size[2], rows);
      const Inside x(window.column_base[plane % window.column_planes], window.column_step, image.size[3],
                     window.pitch);
      SourceRow<S> source{data + channel * image.stride[1] + y.first * image.stride[2] + x.first * image.stride[3],
                          window.column_step * image.stride[3], nullptr, 0};
      if (mask_data) {
        source.mask = mask_data + channel * mask.stride[1] + y.first * mask.stride[2] + x.first * mask.stride[3];
        source.mask_stride = window.column_step * mask.stride[3];
      }
      pack_plane<S>(target + plane * plane_elements, window, y, x, source, window.row_step * image.stride[2],
                    window.row_step * mask.stride[2], slope);
    }
    fill_zero(target + planes * plane_elements, window.channel_stride - planes * plane_elements);
  }
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

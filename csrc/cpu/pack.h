// Packing: copies of image blocks in the layout of geometry.h, and of weights in the order the register tiles read.
#pragma once

#include "convert.h"
#include "interface.h"
#include "transpose.h"

namespace hyperconv::HYPERCONV_ISA {

// A row of the source and, where the source is masked, the same row of the mask.
template <typename S>
struct SourceRow {
  const S* data;
  int64_t stride;
  const S* mask;
  int64_t mask_stride;
};

// m * value. A slope of zero selects: where a ReLU is zero, an infinity is no NaN.
template <typename S>
HYPERCONV_INLINE Sum<S> masked(Sum<S> value, S mask, Sum<S> slope) {
  return widen(mask) > 0 ? value : slope == 0 ? Sum<S>(0) : value * slope;
}

template <typename T>
HYPERCONV_INLINE void mask_vector(Vector<T>& value, const Vector<T>& mask, T slope) {
  if (slope == 0) {
    value = mask > 0 ? value : Vector<T>{};
  } else {
    Vector<T> factor;
    broadcast(factor, slope);
    value *= mask > 0 ? Vector<T>{} + 1 : factor;
  }
}

// The vector of `count` elements of a row from `first` on, masked; zeros in the other lanes.
template <typename T>
HYPERCONV_INLINE Vector<T> row_vector(const SourceRow<T>& row, T slope, int64_t first, int64_t count) {
  Vector<T> value, mask;
  load_strided(value, row.data + first * row.stride, row.stride, count);
  if (!row.mask) return value;
  load_strided(mask, row.mask + first * row.mask_stride, row.mask_stride, count);
  mask_vector(value, mask, slope);
  return value;
}

// Rows are short: the elements that fill no vector would cost more than the others.
template <typename T>
HYPERCONV_INLINE void copy_vectors(T* __restrict target, const SourceRow<T>& row, T slope, int64_t count) {
  const int64_t last = count - lanes<T>;
  if (last >= 0) {
    for (int64_t i = 0; i < last; i += lanes<T>) store(target + i, row_vector(row, slope, i, lanes<T>));
    store(target + last, row_vector(row, slope, last, lanes<T>));
  } else if (count > 0) {
    store_first(target, row_vector(row, slope, 0, count), count);
  }
}

template <typename S>
HYPERCONV_INLINE void copy_row(Sum<S>* __restrict target, const SourceRow<S>& row, Sum<S> slope, int64_t count) {
  const S* __restrict data = row.data;
  const S* __restrict mask = row.mask;
  const auto strides_are = [&](int64_t stride) { return row.stride == stride && (!mask || row.mask_stride == stride); };
  if (!mask && row.stride == 1) return widen_row(target, data, count);
  if constexpr (sizeof(S) == sizeof(Sum<S>)) {
    if (strides_are(1)) return copy_vectors<S>(target, {data, 1, mask, 1}, slope, count);
    if (strides_are(2) && mask) return copy_vectors<S>(target, {data, 2, mask, 2}, slope, count);
    if (strides_are(2)) return copy_vectors<S>(target, {data, 2, nullptr, 2}, slope, count);
  }
  if (!mask) {
    for (int64_t i = 0; i < count; ++i) target[i] = widen(data[i * row.stride]);
  } else if (strides_are(1)) {
    for (int64_t i = 0; i < count; ++i) target[i] = masked<S>(widen(data[i]), mask[i], slope);
  } else {
    for (int64_t i = 0; i < count; ++i)
      target[i] = masked<S>(widen(data[i * row.stride]), mask[i * row.mask_stride], slope);
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

// The source of one plane of all channels: row y.first, column x.first of the image, at channel 0.
template <typename S>
struct PlaneSource {
  Inside y, x;
  SourceRow<S> first;
  int64_t channel_stride, row_stride, mask_channel_stride, mask_row_stride;

  HYPERCONV_INLINE SourceRow<S> row(int64_t channel, int64_t index) const {
    SourceRow<S> result = first;
    result.data += channel * channel_stride + index * row_stride;
    if (result.mask) result.mask += channel * mask_channel_stride + index * mask_row_stride;
    return result;
  }

  // Whether rows of `count` elements lie as one.
  HYPERCONV_INLINE bool rows_follow_each_other(int64_t count) const {
    return row_stride == count * first.stride && (!first.mask || mask_row_stride == count * first.mask_stride);
  }
};

template <typename S>
PlaneSource<S> plane_source(const Window& window, int64_t plane, const Image& image, const Image& mask, int64_t sample,
                            int64_t first_channel, int64_t first_row, int64_t rows) {
  const Inside y(window.row_base[plane / window.column_planes] + first_row * window.row_step, window.row_step,
                 image.size[2], rows);
  const Inside x(window.column_base[plane % window.column_planes], window.column_step, image.size[3], window.pitch);
  const auto position = [&](const int64_t* stride) {
    return sample * stride[0] + first_channel * stride[1] + y.first * stride[2] + x.first * stride[3];
  };
  SourceRow<S> first{static_cast<const S*>(image.data) + position(image.stride), window.column_step * image.stride[3],
                     nullptr, window.column_step * mask.stride[3]};
  if (mask.data) first.mask = static_cast<const S*>(mask.data) + position(mask.stride);
  return {y, x, first, image.stride[1], window.row_step * image.stride[2], mask.stride[1],
          window.row_step * mask.stride[2]};
}

// One plane of one channel. Everything that is not a row of the image is zero, to the last element of the plane.
template <typename S>
void pack_plane(Sum<S>* line, const Window& window, const PlaneSource<S>& source, int64_t channel, Sum<S> slope) {
  const int64_t count = source.x.end - source.x.begin, height = source.y.end - source.y.begin;
  Sum<S>* const end = line + window.rows * window.pitch;
  if (height == 0 || count == 0) return fill_zero(line, end - line);
  const int64_t before = source.y.begin * window.pitch + source.x.begin;
  fill_zero(line, before);
  line += before;
  if (count == window.pitch && source.rows_follow_each_other(count)) {
    copy_row<S>(line, source.row(channel, 0), slope, height * count);
    return fill_zero(line + height * count, end - line - height * count);
  }
  for (int64_t row = 0; row < height - 1; ++row, line += window.pitch) {
    copy_row<S>(line, source.row(channel, row), slope, count);
    fill_zero(line + count, window.pitch - count);
  }
  copy_row<S>(line, source.row(channel, height - 1), slope, count);
  fill_zero(line + count, end - line - count);
}

// One row of `channels` channels that lie side by side, each into a line of its own, `stride` elements apart.
template <typename S>
void pack_interleaved_row(Sum<S>* target, int64_t stride, SourceRow<S> row, int64_t channels, int64_t count,
                          Sum<S> slope) {
  using T = Sum<S>;
  constexpr int group = channel_group<T>;
  const int64_t whole_channels = channels / group * group, whole = count / 4 * 4;
  alignas(64) T pixels[4 * group];
  for (int64_t i = 0; i < whole; i += 4) {
    for (int64_t channel = 0; channel < whole_channels; channel += group) {
      for (int64_t j = 0; j < 4; ++j) {
        SourceRow<S> pixel{row.data + (i + j) * row.stride + channel, 1, nullptr, 1};
        if (row.mask) pixel.mask = row.mask + (i + j) * row.mask_stride + channel;
        for (int64_t k = 0; k < group; ++k)
          pixels[j * group + k] =
              pixel.mask ? masked<S>(widen(pixel.data[k]), pixel.mask[k], slope) : widen(pixel.data[k]);
      }
      transpose<T, 4, group>(target + channel * stride + i, stride, pixels, group);
    }
  }
  for (int64_t channel = 0; channel < channels; ++channel) {
    const int64_t done = channel < whole_channels ? whole : 0;
    SourceRow<S> rest{row.data + done * row.stride + channel, row.stride, nullptr, row.mask_stride};
    if (row.mask) rest.mask = row.mask + done * row.mask_stride + channel;
    copy_row<S>(target + channel * stride + done, rest, slope, count - done);
  }
}

// One plane, cleared before, of all channels of a channels_last image: a row is finished in all channels while it is
// in the cache.
template <typename S>
void pack_interleaved_plane(Sum<S>* target, const Window& window, const PlaneSource<S>& source, int64_t channels,
                            Sum<S> slope) {
  const int64_t count = source.x.end - source.x.begin;
  const bool side_by_side = source.channel_stride == 1 && (!source.first.mask || source.mask_channel_stride == 1);
  for (int64_t row = 0; row < source.y.end - source.y.begin; ++row) {
    Sum<S>* line = target + (source.y.begin + row) * window.pitch + source.x.begin;
    if (side_by_side) {
      pack_interleaved_row<S>(line, window.channel_stride, source.row(0, row), channels, count, slope);
    } else {
      for (int64_t channel = 0; channel < channels; ++channel, line += window.channel_stride)
        copy_row<S>(line, source.row(channel, row), slope, count);
    }
  }
}

// `rows` rows of every plane of `channels` channels from first_channel on of one sample, for the output rows from
// first_row on, into `target` ([channel][plane][row][pitch]). Zeros outside the image and behind the rows: tiles read
// there for results that are never stored, and stale memory could hold denormal numbers, which are slow, or a NaN.
template <typename S>
void pack_window(Sum<S>* target, const Window& window, const Image& image, const Image& mask, int64_t sample,
                 int64_t first_channel, int64_t channels, int64_t first_row, int64_t rows, Sum<S> slope) {
  const int64_t planes = window.row_planes * window.column_planes, plane_elements = window.rows * window.pitch;
  const bool interleaved = image.stride[1] < image.stride[3];
  if (interleaved) fill_zero(target, channels * window.channel_stride);
  for (int64_t plane = 0; plane < planes; ++plane) {
    const PlaneSource<S> source =
        plane_source<S>(window, plane, image, mask, sample, first_channel, first_row, rows);
    Sum<S>* first = target + plane * plane_elements;
    if (interleaved) {
      pack_interleaved_plane<S>(first, window, source, channels, slope);
    } else {
      for (int64_t channel = 0; channel < channels; ++channel)
        pack_plane<S>(first + channel * window.channel_stride, window, source, channel, slope);
    }
  }
  if (interleaved) return;
  for (int64_t channel = 0; channel < channels; ++channel)
    fill_zero(target + channel * window.channel_stride + planes * plane_elements,
              window.channel_stride - planes * plane_elements);
}

// The biases of `width` output channels of one group from the channel `first` on; zeros where there are none.
template <typename S>
void pack_bias(Sum<S>* target, const Correlation& problem, int64_t set, int64_t group, int64_t first, int64_t width) {
  const S* bias = static_cast<const S*>(problem.bias);
  const int64_t channel = group * problem.out_channels + first, count = smaller(width, problem.out_channels - first);
  for (int64_t m = 0; m < width; ++m)
    target[m] = bias && m < count
                    ? widen(bias[set * problem.bias_set_stride + (channel + m) * problem.bias_stride])
                    : 0;
}

// One panel of `width` output channels: its biases, then [input channel][tap][width] weights.
template <typename S>
void pack_weight_panel(Sum<S>* target, const Correlation& problem, int64_t set, int64_t group, int64_t first,
                       int64_t width) {
  pack_bias<S>(target, problem, set, group, first, width);
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

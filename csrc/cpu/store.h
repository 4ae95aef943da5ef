// The epilogue: activation or mask on a tile of results, and its way out to an image of any strides.
#pragma once

#include "convert.h"
#include "interface.h"

namespace hyperconv::HYPERCONV_ISA {

// tanh(x) = e / (e + 2) with e = exp(2 |x|) - 1, by exp(a) = 2^n exp(r); keeps NaN, within a few units in the last
// place, and made of operations that vectorise.
HYPERCONV_INLINE float tanh_of(float x) {
  constexpr float round = 12582912.0f, log2_e = 1.44269504f, ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;
  const float magnitude = __builtin_fabsf(x);
  const float a = 2 * (magnitude > 9.5f ? 9.5f : magnitude);
  const float rounded = a * log2_e + round;
  const float n = rounded - round;
  const float r = (a - n * ln2_high) - n * ln2_low;
  float series = 1.0f / 5040;
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  const float scale = float_of((bits_of(rounded) << 23) + 0x3f800000u);
  const float e = scale * (series * r * r + r) + (scale - 1);
  return __builtin_copysignf(e / (e + 2), x);
}
HYPERCONV_INLINE double tanh_of(double x) { return __builtin_tanh(x); }

template <typename T>
HYPERCONV_INLINE void activate(T* values, int64_t count, Activation activation, T slope) {
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      for (int64_t i = 0; i < count; ++i) values[i] = values[i] < 0 ? T(0) : values[i];
      break;
    case Activation::leaky_relu:
      for (int64_t i = 0; i < count; ++i) values[i] = values[i] > 0 ? values[i] : values[i] * slope;
      break;
    case Activation::tanh:
      for (int64_t i = 0; i < count; ++i) values[i] = tanh_of(values[i]);
      break;
  }
}

HYPERCONV_INLINE void narrow_row(float* target, const float* source, int64_t count) {
  copy_elements(target, source, count);
}
HYPERCONV_INLINE void narrow_row(double* target, const double* source, int64_t count) {
  copy_elements(target, source, count);
}
template <typename S>
HYPERCONV_INLINE void narrow_row(S* __restrict target, const float* __restrict source, int64_t count) {
  for (int64_t i = 0; i < count; ++i) narrow(target[i], source[i]);
}

// target = m(mask) * values, mask and target dense.
template <typename S, typename T>
HYPERCONV_INLINE void mask_row(S* __restrict target, const T* __restrict values, const S* __restrict mask, T slope,
                               int64_t count) {
  for (int64_t i = 0; i < count; ++i) narrow(target[i], masked<S>(values[i], mask[i], slope));
}
// Whole vectors, the last one overlapping its neighbour.
template <typename T>
HYPERCONV_INLINE void mask_row(T* __restrict target, const T* __restrict values, const T* __restrict mask, T slope,
                               int64_t count) {
  const Vector<T> zero = {}, one = zero + T(1), otherwise = zero + slope;
  int64_t i = 0;
  while (i + lanes<T> <= count) {
    Vector<T> value, m;
    load(value, values + i);
    load(m, mask + i);
    store(target + i, Vector<T>(value * (m > zero ? one : otherwise)));
    i += lanes<T>;
    if (i < count && i + lanes<T> > count) i = count - lanes<T>;
  }
  for (; i < count; ++i) target[i] = masked<T>(values[i], mask[i], slope);
}

// Where the results of one unit of work go: channel `first_channel` of row `first_row` is (0, 0) for it.
template <typename S>
struct Target {
  Target(const Correlation& problem, int64_t sample, int64_t first_channel, int64_t first_row)
      : output(problem.output), mask(problem.output_mask), slope(problem.negative_slope) {
    data = static_cast<S*>(output.data) + sample * output.stride[0] + first_channel * output.stride[1] +
           first_row * output.stride[2];
    mask_data = static_cast<const S*>(mask.data);
    if (mask_data)
      mask_data += sample * mask.stride[0] + first_channel * mask.stride[1] + first_row * mask.stride[2];
  }

  // `count` pixels from (row, column) of `channels` channels; `values` is [channel][value_pitch].
  void store_segment(const Sum<S>* values, int64_t value_pitch, int64_t channel, int64_t channels, int64_t row,
                     int64_t column, int64_t count) const {
    S* target = data + channel * output.stride[1] + row * output.stride[2] + column * output.stride[3];
    const S* source = mask_data;
    if (source) source += channel * mask.stride[1] + row * mask.stride[2] + column * mask.stride[3];
    if (output.stride[3] == 1 && !source) {
      for (int64_t m = 0; m < channels; ++m)
        narrow_row(target + m * output.stride[1], values + m * value_pitch, count);
    } else if (output.stride[3] == 1 && mask.stride[3] == 1) {
      for (int64_t m = 0; m < channels; ++m)
        mask_row(target + m * output.stride[1], values + m * value_pitch, source + m * mask.stride[1], slope, count);
    } else {
      store_strided(target, source, values, value_pitch, channels, count);
    }
  }

 private:
  void store_strided(S* target, const S* source, const Sum<S>* values, int64_t value_pitch, int64_t channels,
                     int64_t count) const {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t m = 0; m < channels; ++m) {
        Sum<S> value = values[m * value_pitch + i];
        if (source) value = masked<S>(value, source[i * mask.stride[3] + m * mask.stride[1]], slope);
        narrow(target[i * output.stride[3] + m * output.stride[1]], value);
      }
    }
  }

  const Image& output;
  const Image& mask;
  S* data;
  const S* mask_data;
  Sum<S> slope;
};

}  // namespace hyperconv::HYPERCONV_ISA

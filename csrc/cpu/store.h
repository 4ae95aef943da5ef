// The epilogue: activation or mask on a tile of results, and its way out to an image of any strides.
#pragma once

#include "interface.h"
#include "pack.h"

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

// Where the results of one unit of work go, and where the mask over them comes from: channel `first_channel` of row
// `first_row` is (0, 0) for it. Tiles are [channel][pitch]; a segment is `count` pixels of one row.
template <typename S>
struct Target {
  Target(const Correlation& problem, int64_t sample, int64_t first_channel, int64_t first_row)
      : output(problem.output), mask(problem.output_mask) {
    data = static_cast<S*>(output.data) + sample * output.stride[0] + first_channel * output.stride[1] +
           first_row * output.stride[2];
    mask_data = static_cast<const S*>(mask.data);
    if (mask_data)
      mask_data += sample * mask.stride[0] + first_channel * mask.stride[1] + first_row * mask.stride[2];
  }

  bool masked() const { return mask_data != nullptr; }

  // Whether results can go where they belong, and their mask be read, in whole vectors: nothing is converted, and both
  // sides are rows.
  bool takes_rows() const {
    return sizeof(S) == sizeof(Sum<S>) && output.stride[3] == 1 && (!masked() || mask.stride[3] == 1);
  }
  S* output_at(int64_t channel, int64_t row) const {
    return data + channel * output.stride[1] + row * output.stride[2];
  }
  const S* mask_at(int64_t channel, int64_t row) const {
    return mask_data + channel * mask.stride[1] + row * mask.stride[2];
  }

  // Whether results can be masked as they are stored: nothing is converted, and both sides are rows.
  bool masks_rows() const {
    return masked() && sizeof(S) == sizeof(Sum<S>) && output.stride[3] == 1 && mask.stride[3] == 1;
  }

  void store_masked(const Sum<S>* values, int64_t pitch, int64_t channel, int64_t channels, int64_t row, int64_t column,
                    int64_t count, Sum<S> slope) const {
    S* target = data + channel * output.stride[1] + row * output.stride[2] + column;
    const S* source = mask_data + channel * mask.stride[1] + row * mask.stride[2] + column;
    if constexpr (sizeof(S) == sizeof(Sum<S>))
      for (int64_t m = 0; m < channels; ++m, values += pitch, target += output.stride[1], source += mask.stride[1])
        copy_vectors<S>(target, {values, 1, source, 1}, slope, count);
  }

  void load_mask(Sum<S>* values, int64_t pitch, int64_t channel, int64_t channels, int64_t row, int64_t column,
                 int64_t count) const {
    const S* source = mask_data + channel * mask.stride[1] + row * mask.stride[2] + column * mask.stride[3];
    if constexpr (sizeof(S) == sizeof(Sum<S>)) {
      if (mask.stride[1] == 1 && channels % channel_group<S> == 0) {
        const int64_t whole = count / 4 * 4;
        for (int64_t i = 0; i < whole; i += 4)
          for (int64_t m = 0; m < channels; m += channel_group<S>)
            transpose<S, 4, channel_group<S>>(values + m * pitch + i, pitch, source + i * mask.stride[3] + m,
                                              mask.stride[3]);
        values += whole, source += whole * mask.stride[3], count -= whole;
      }
    }
    for (int64_t m = 0; m < channels; ++m, source += mask.stride[1], values += pitch) {
      if (mask.stride[3] == 1) {
        widen_row(values, source, count);
      } else {
        for (int64_t i = 0; i < count; ++i) values[i] = widen(source[i * mask.stride[3]]);
      }
    }
  }

  void store(const Sum<S>* values, int64_t pitch, int64_t channel, int64_t channels, int64_t row, int64_t column,
             int64_t count) const {
    S* target = data + channel * output.stride[1] + row * output.stride[2] + column * output.stride[3];
    if constexpr (sizeof(S) == sizeof(Sum<S>)) {
      if (output.stride[1] == 1 && channels % channel_group<S> == 0) {
        const int64_t whole = count / 4 * 4;
        for (int64_t i = 0; i < whole; i += 4)
          for (int64_t m = 0; m < channels; m += channel_group<S>)
            transpose<S, channel_group<S>, 4>(target + i * output.stride[3] + m, output.stride[3],
                                              values + m * pitch + i, pitch);
        values += whole, target += whole * output.stride[3], count -= whole;
      }
    }
    if (output.stride[3] == 1) {
      for (int64_t m = 0; m < channels; ++m) narrow_row(target + m * output.stride[1], values + m * pitch, count);
    } else {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t m = 0; m < channels; ++m)
          narrow(target[i * output.stride[3] + m * output.stride[1]], values[m * pitch + i]);
    }
  }

 private:
  const Image& output;
  const Image& mask;
  S* data;
  const S* mask_data;
};

// The way out of `channels` rows of `pitch` values: mask or activation (never both), and the store of the parts that
// for_each_part(visit(offset, row, column, count)) names. `mask` is memory for as many values.
template <typename S, typename ForEachPart>
HYPERCONV_INLINE void finish(Sum<S>* values, Sum<S>* mask, int64_t pitch, int64_t channel, int64_t channels,
                             const Correlation& problem, const Target<S>& target, const ForEachPart& for_each_part) {
  using T = Sum<S>;
  const int64_t size = channels * pitch;
  const T slope = T(problem.negative_slope);
  if (target.masks_rows()) {
    for_each_part([&](int64_t offset, int64_t row, int64_t column, int64_t count) {
      target.store_masked(values + offset, pitch, channel, channels, row, column, count, slope);
    });
    return;
  }
  if (target.masked()) {
    fill_zero(mask, size);
    for_each_part([&](int64_t offset, int64_t row, int64_t column, int64_t count) {
      target.load_mask(mask + offset, pitch, channel, channels, row, column, count);
    });
    for (int64_t i = 0; i < size; ++i) values[i] = masked<T>(values[i], mask[i], slope);
  }
  activate(values, size, problem.activation, slope);
  for_each_part([&](int64_t offset, int64_t row, int64_t column, int64_t count) {
    target.store(values + offset, pitch, channel, channels, row, column, count);
  });
}

}  // namespace hyperconv::HYPERCONV_ISA

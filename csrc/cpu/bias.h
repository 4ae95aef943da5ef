// The bias gradient: masked sums over the pixels of every sample, then over the samples of a set, in a fixed order.
#pragma once

#include "pack.h"
#include "parallel.h"

namespace hyperconv::HYPERCONV_ISA {

// One row of one channel; many partial sums, so that long rows neither wait for each other nor lose precision.
template <typename S>
Sum<S> sum_row(SourceRow<S> row, Sum<S> slope, int64_t count) {
  using T = Sum<S>;
  constexpr int strip = 4 * lanes<T>;
  alignas(64) T sums[strip] = {}, values[strip];
  for (int64_t i = 0; i < count; i += strip) {
    const int64_t left = smaller(strip, count - i);
    const S* mask = row.mask ? row.mask + i * row.mask_stride : nullptr;
    copy_row<S>(values, {row.data + i * row.stride, row.stride, mask, row.mask_stride}, slope, left);
    fill_zero(values + left, strip - left);
    for (int j = 0; j < strip; ++j) sums[j] += values[j];
  }
  for (int width = strip / 2; width >= 1; width /= 2)
    for (int j = 0; j < width; ++j) sums[j] += sums[j + width];
  return sums[0];
}

template <typename S>
void bias_sum(const BiasSum& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const Image &grad = problem.grad, &mask = problem.mask;
  const int64_t samples = grad.size[0], channels = grad.size[1];
  const bool joined = grad.stride[2] == grad.size[3] * grad.stride[3] &&
                      (!mask.data || mask.stride[2] == grad.size[3] * mask.stride[3]);
  const int64_t rows = joined ? 1 : grad.size[2], columns = joined ? grad.size[2] * grad.size[3] : grad.size[3];
  double* parts = static_cast<double*>(runtime.scratch(scratch_call, samples * channels * sizeof(double)));
  parallel(runtime, samples * channels, [&](int64_t unit) {
    const int64_t sample = unit / channels, channel = unit % channels;
    SourceRow<S> row{static_cast<const S*>(grad.data) + sample * grad.stride[0] + channel * grad.stride[1],
                     grad.stride[3], static_cast<const S*>(mask.data), mask.stride[3]};
    if (row.mask) row.mask += sample * mask.stride[0] + channel * mask.stride[1];
    double total = 0;
    for (int64_t y = 0; y < rows; ++y, row.data += grad.stride[2]) {
      total += sum_row<S>(row, T(problem.negative_slope), columns);
      if (row.mask) row.mask += mask.stride[2];
    }
    parts[unit] = total;
  });

  const int64_t samples_per_set = samples / problem.sets;
  for (int64_t set = 0; set < problem.sets; ++set) {
    for (int64_t channel = 0; channel < channels; ++channel) {
      double total = 0;
      for (int64_t i = 0; i < samples_per_set; ++i) total += parts[(set * samples_per_set + i) * channels + channel];
      narrow(static_cast<S*>(problem.result)[set * channels + channel], T(total));
    }
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

// The bias gradient: masked sums over the pixels of every sample, then over the samples of a set, in a fixed order.
#pragma once

#include "pack.h"
#include "parallel.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int64_t most_sums = 256;    // of neighbouring channels that are added up together
constexpr int64_t longest_sum = 128;  // strips; beyond it sums go on in double, to lose no precision
constexpr int64_t band_elements = 1 << 14;

// What one unit of work adds up: `channels` channels of some pixels in a row, side by side in memory unless it is one.
template <typename S>
struct ChannelRow {
  SourceRow<S> pixels;
  int64_t channels;

  // The pixels that are read as one strip, so that a vector is full even where the channels are few.
  int64_t pixels_at_once() const {
    const bool dense = pixels.stride == channels && (!pixels.mask || pixels.mask_stride == channels);
    return channels == 1 || dense ? larger(4 * lanes<Sum<S>> / channels, 1) : 1;
  }
  SourceRow<S> strip(int64_t pixel) const {
    const S* mask = pixels.mask ? pixels.mask + pixel * pixels.mask_stride : nullptr;
    const bool alone = channels == 1;
    return {pixels.data + pixel * pixels.stride, alone ? pixels.stride : 1, mask, alone ? pixels.mask_stride : 1};
  }
};

// totals[channel] += the sum over `count` pixels.
template <typename S>
void add_row(double* totals, const ChannelRow<S>& row, Sum<S> slope, int64_t count) {
  using T = Sum<S>;
  const int64_t at_once = row.pixels_at_once(), width = at_once * row.channels;
  alignas(64) T sums[most_sums], values[most_sums];
  for (int64_t i = 0; i < count;) {
    const int64_t end = smaller(count, i + longest_sum * at_once);
    fill_zero(sums, width);
    for (; i < end; i += at_once) {
      const int64_t present = smaller(at_once, end - i) * row.channels;
      copy_row<S>(values, row.strip(i), slope, present);
      for (int64_t j = 0; j < present; ++j) sums[j] += values[j];
    }
    int64_t pixels = at_once;
    for (; pixels % 2 == 0; pixels /= 2)
      for (int64_t j = 0, half = pixels / 2 * row.channels; j < half; ++j) sums[j] += sums[j + half];
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      for (int64_t c = 0; c < row.channels; ++c) totals[c] += sums[pixel * row.channels + c];
  }
}

// How the work is cut: into bands of rows and slices of channels, whatever the number of threads.
struct BiasUnits {
  explicit BiasUnits(const BiasSum& problem) {
    const Image &grad = problem.grad, &mask = problem.mask;
    const bool interleaved = grad.stride[1] == 1 && grad.stride[3] > 1 && (!mask.data || mask.stride[1] == 1);
    const bool joined = !interleaved && grad.stride[2] == grad.size[3] * grad.stride[3] &&
                        (!mask.data || mask.stride[2] == grad.size[3] * mask.stride[3]);
    rows = joined ? 1 : grad.size[2];
    columns = joined ? grad.size[2] * grad.size[3] : grad.size[3];
    channels = interleaved ? smaller(grad.size[1], most_sums) : 1;
    slices = (grad.size[1] + channels - 1) / channels;
    band_rows = interleaved ? larger(band_elements / (columns * channels), 1) : rows;
    bands = (rows + band_rows - 1) / band_rows;
  }
  int64_t rows, columns, channels, slices, band_rows, bands;
};

template <typename S>
void bias_sum(const BiasSum& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const Image &grad = problem.grad, &mask = problem.mask;
  const int64_t samples = grad.size[0], channels = grad.size[1];
  const BiasUnits units(problem);
  const int64_t parts = samples * units.bands;
  double* totals = static_cast<double*>(runtime.scratch(scratch_call, parts * channels * sizeof(double)));
  parallel(runtime, parts * units.slices, [&](int64_t unit) {
    const int64_t slice = unit % units.slices, part = unit / units.slices;
    const int64_t sample = part / units.bands, row = part % units.bands * units.band_rows;
    const int64_t channel = slice * units.channels;
    const auto position = [&](const int64_t* stride) {
      return sample * stride[0] + channel * stride[1] + row * stride[2];
    };
    SourceRow<S> source{static_cast<const S*>(grad.data) + position(grad.stride), grad.stride[3], nullptr,
                        mask.stride[3]};
    if (mask.data) source.mask = static_cast<const S*>(mask.data) + position(mask.stride);
    const int64_t count = smaller(units.channels, channels - channel);
    double* const target = totals + part * channels + channel;
    for (int64_t c = 0; c < count; ++c) target[c] = 0;
    for (int64_t y = row; y < smaller(units.rows, row + units.band_rows); ++y, source.data += grad.stride[2]) {
      add_row<S>(target, {source, count}, T(problem.negative_slope), units.columns);
      if (source.mask) source.mask += mask.stride[2];
    }
  });

  const int64_t parts_per_set = parts / problem.sets;
  for (int64_t set = 0; set < problem.sets; ++set) {
    for (int64_t channel = 0; channel < channels; ++channel) {
      double total = 0;
      for (int64_t i = 0; i < parts_per_set; ++i) total += totals[(set * parts_per_set + i) * channels + channel];
      narrow(static_cast<S*>(problem.result)[set * channels + channel], T(total));
    }
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

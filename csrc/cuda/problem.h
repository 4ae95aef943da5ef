// The plain data that crosses from the operators (operations.cu) to the kernels: one struct for each of the two
// problems that the family consists of, and one for the bias.
//
// Strides count elements, in 64 bits.

#pragma once

#include <cstdint>

#include "../dtype.h"

#if defined(__CUDACC__)
#define HYPERCONV_BOTH __host__ __device__ __forceinline__
#else
#define HYPERCONV_BOTH inline
#endif

namespace hyperconv {

enum Activation { kNone = 0, kRelu = 1, kLeakyRelu = 2, kTanh = 3 };

// A (samples, channels, rows, columns) tensor of any strides. data == nullptr: absent.
struct Image {
  void* data;
  int64_t stride[4];
};

// The taps that reach the destination positions of one phase: position number t reads, through kernel entry
// first_entry + j * entry_step, the source position t * step + j * tap_step + offset, for j < count.
struct Taps {
  int outputs, count, first_entry, offset;
};

// One axis of a correlation. Forward, a destination position o reads o * stride + k * dilation - padding, and
// there is one phase. Transposed (the input gradient), destination position i is read by the o with
// o * stride + k * dilation - padding = i; positions apart by the stride are a phase, reached by the same
// kernel entries, an arithmetic progression.
struct Axis {
  int destination, source, kernel;
  int padding, dilation;
  int spacing;     // of the destination positions of one phase
  int phases;      // of which there are any positions
  int step, tap_step, entry_step;
  int common;      // transposed: greatest common divisor of stride and dilation
  int inverse;     // transposed: of dilation / common, modulo entry_step
  bool transposed;

  HYPERCONV_BOTH int outputs(int phase) const { return (destination - phase + spacing - 1) / spacing; }

  HYPERCONV_BOTH Taps taps(int phase) const {
    if (!transposed) return {destination, kernel, 0, -padding};
    const int distance = phase + padding;
    if (distance % common != 0) return {outputs(phase), 0, 0, 0};
    const int64_t remainder = distance / common % entry_step;
    const int first = static_cast<int>(remainder * inverse % entry_step);
    const int count = first < kernel ? (kernel - 1 - first) / entry_step + 1 : 0;
    const int64_t offset = (distance - static_cast<int64_t>(first) * dilation) / spacing;
    return {outputs(phase), count, first, static_cast<int>(offset)};
  }
};


// destination[n, o] = m(destination_mask) phi(bias[o] + sum over channels c and taps of weight[o, c, tap] *
// m(source_mask) source[n, c]), with m as in hyperconv/ops/schema.py: conv2d, masked_conv2d, input_gradient.
struct Correlation {
  Dtype dtype;
  bool tf32;  // whether float32 products may be computed in TF32
  Image source, source_mask, destination, destination_mask;
  Axis row, column;
  const void* weight;
  int64_t weight_set_stride, weight_group_stride, weight_out_stride, weight_in_stride;
  int64_t weight_entry_stride[2];  // along kernel rows and columns
  const void* bias;                // may be null
  int64_t bias_set_stride, bias_stride;
  int64_t sets, samples_per_set;
  int groups, in_channels, out_channels;  // channels of one group
  int activation;
  double negative_slope;
};

// weight_gradient[set, f, c, tap] = sum over the samples of the set and the pixels of m(mask) grad[f] *
// input[c] under the tap; bias_gradient[set, f] = sum of m(mask) grad[f] where that is wanted.
struct Accumulation {
  Dtype dtype;
  bool tf32;
  Image grad, mask, input;
  Axis row, column;  // forward: destination is grad, source is input
  void* weight_gradient;  // contiguous
  void* bias_gradient;    // contiguous; may be null
  int64_t sets, samples_per_set;
  int groups, in_channels, out_channels;  // channels of one group
  double negative_slope;
};

// The bias gradient alone: result[set, c], contiguous.
struct BiasSum {
  Dtype dtype;
  Image grad, mask;
  int height, width;
  void* result;
  int64_t sets, samples_per_set;
  int channels;
  double negative_slope;
};

// What the device of a call has.
struct Limits {
  int shared_bytes;  // of one block
  int multiprocessors;
};

// Divides numbers below 2^31 by a fixed positive one with a multiplication and a shift
// (Granlund and Montgomery 1994, "Division by invariant integers using multiplication").
struct Divisor {
  uint32_t value = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  HYPERCONV_BOTH explicit Divisor(uint32_t divisor) : value(divisor) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    const uint64_t rest = (uint64_t{1} << shift) - divisor;
    multiplier = static_cast<uint32_t>((rest << 32) / divisor + 1);
  }

  HYPERCONV_BOTH uint32_t quotient(uint32_t number) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(number) * multiplier) >> 32);
    return (high + number) >> shift;
  }
};

constexpr int64_t kLargestInt = 0x7fffffff;

HYPERCONV_BOTH int64_t divide_up(int64_t number, int64_t divisor) { return (number + divisor - 1) / divisor; }

inline Axis forward_axis(int destination, int source, int kernel, int stride, int padding, int dilation) {
  return {destination, source, kernel, padding, dilation, 1, 1, stride, dilation, 1, 1, 0, false};
}

inline Axis transposed_axis(int destination, int source, int kernel, int stride, int padding, int dilation) {
  int common = stride;
  for (int rest = dilation; rest != 0;) {
    const int next = common % rest;
    common = rest;
    rest = next;
  }
  Axis axis{destination, source, kernel, padding, dilation, stride, stride < destination ? stride : destination,
            1, -(dilation / common), stride / common, common, 0, true};
  const int64_t dilation_step = dilation / common % axis.entry_step;
  while (axis.entry_step > 1 && axis.inverse * dilation_step % axis.entry_step != 1) ++axis.inverse;
  return axis;
}

}  // namespace hyperconv

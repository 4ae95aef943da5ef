// Which algorithm computes a call.
#pragma once

#include "geometry.h"
#include "interface.h"

namespace hyperconv {

// What is computed: PyTorch's own input gradient is more accurate than its convolution, and so must this one be.
enum class Product { convolution, input_gradient, weight_gradient };

// Winograd's F(outputs x outputs, taps x taps), over all parts of the kernel; none where outputs is 0.
struct WinogradFilter {
  int64_t outputs = 0, taps = 3;
  int64_t inputs() const { return outputs + taps - 1; }
  explicit operator bool() const { return outputs > 0; }
};

// Who computes a call: matrix tiles (wide bfloat16 layers, where the processor has them), few output channels tap by
// tap (correlate_planes.h), Winograd's algorithm by the fastest filter whose error is at most twice PyTorch's own,
// columns.h (few pixels in all samples of a weight set, or tiny images), two rows at a time (row_pairs.h), or direct
// sums. HYPERCONV_CPU_ALGORITHM=direct, tiles, columns, tap_planes, winograd2, winograd3, winograd4 or row_pairs decides
// for every call that has a choice, for tests and measurements.
enum class Way { tiles, planes, winograd, columns, pairs, direct };

struct Algorithm {
  Way way;
  WinogradFilter filter;
};

// What a call is about, for one group: `samples` of a weight set.
struct Layer {
  Dtype dtype;
  int64_t samples, in_channels, out_channels;
};

// Of a convolution, or of one phase of an input gradient as a correlation: its axes, and its own input and output.
Algorithm correlation_algorithm(Product product, const AxisTaps& rows, const AxisTaps& columns, const Layer& layer);
// Of an input gradient: whether columns take it all at once. Axes and layer of the convolution here and below.
bool scatters(const AxisTaps& rows, const AxisTaps& columns, const Layer& layer);
// Of a weight gradient. Pairs of rows are left to ask for: they depend on the factor that is shifted.
Algorithm accumulation_algorithm(const AxisTaps& rows, const AxisTaps& columns, const Layer& layer);
bool pairs_gradient_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t shifted, int64_t fixed);

// Tiles that are transformed together, so that they stay in the cache of one core: by a correlation, all of their
// entries at a time; by a weight gradient, one row of their entries.
int64_t correlation_tiles(const WinogradFilter& filter, int64_t in_channels, int64_t out_channels,
                          int64_t element_size);
int64_t gradient_tiles(const WinogradFilter& filter, int64_t in_channels, int64_t out_channels, int64_t element_size);

// Rows of a block, a multiple of the rows of a tile, whose windows of `channels` channels stay within `bytes`.
int64_t winograd_rows(int64_t outputs, const AxisTaps& rows, const AxisTaps& columns, int64_t channels,
                      int64_t element_size, int64_t bytes);

}  // namespace hyperconv

// Which algorithm computes a call.
#pragma once

#include "geometry.h"
#include "interface.h"

namespace hyperconv {

// What is computed: PyTorch's own input gradient is more accurate than its convolution, and so must this one be.
enum class Product { convolution, input_gradient, weight_gradient };

// The questions go in this order; where the answer to all is no, sums are direct. HYPERCONV_CPU_ALGORITHM=direct, tiles,
// columns, tap_planes, winograd2, winograd3, winograd4 or row_pairs decides for every call that has a choice, for tests
// and measurements.

// Whether matrix tiles compute it: wide bfloat16 layers, where the processor has them.
bool on_tiles(Dtype dtype, int64_t in_channels, int64_t out_channels);

// Whether a correlation takes its few output channels tap by tap, by correlate_planes.h.
bool takes_planes(const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels, int64_t out_channels);

// Winograd's F(outputs x outputs, taps x taps), over all parts of the kernel; none where outputs is 0.
struct WinogradFilter {
  int64_t outputs = 0, taps = 3;
  int64_t inputs() const { return outputs + taps - 1; }
  explicit operator bool() const { return outputs > 0; }
};

// The fastest of them whose error is at most twice PyTorch's own, for `samples` of a weight set.
WinogradFilter winograd_filter(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t samples,
                               int64_t in_channels, int64_t out_channels);

// Whether columns.h computes it: few pixels, of all `samples` of a weight set, beside wide weights. Axes and channels are
// those of the convolution in every product.
bool takes_columns(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t samples, int64_t in_channels,
                   int64_t out_channels);

// Whether two rows are computed at a time, by row_pairs.h: rows of `few` channels, transformed once for `many`. Input and
// output channels of a correlation, shifted and fixed ones of an accumulation.
bool pairs_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t few, int64_t many);
bool pairs_gradient_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t few, int64_t many);

// Tiles that are transformed together, so that they stay in the cache of one core: by a correlation, all of their
// entries at a time; by a weight gradient, one row of their entries.
int64_t correlation_tiles(const WinogradFilter& filter, int64_t in_channels, int64_t out_channels, int64_t element_size);
int64_t gradient_tiles(const WinogradFilter& filter, int64_t in_channels, int64_t out_channels, int64_t element_size);

// Rows of a block, a multiple of the rows of a tile, whose windows of `channels` channels stay within `bytes`.
int64_t winograd_rows(int64_t outputs, const AxisTaps& rows, const AxisTaps& columns, int64_t channels,
                      int64_t element_size, int64_t bytes);

}  // namespace hyperconv

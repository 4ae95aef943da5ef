// Which algorithm computes a call: direct sums, or Winograd's for dense 3 x 3 kernels between many channels.
#pragma once

#include "geometry.h"
#include "interface.h"

namespace hyperconv {

// What is computed: PyTorch's own input gradient is more accurate than its convolution, and so must this one be.
enum class Product { convolution, input_gradient, weight_gradient };

// M of the fastest F(M x M, 3 x 3) whose error is at most twice PyTorch's own: 2, 3 or 4; or 0, where direct sums are
// faster or alone possible. HYPERCONV_CPU_ALGORITHM=direct, winograd2, winograd3 or winograd4 decides for every call
// that has a choice, for tests and measurements.
int64_t winograd_outputs(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels,
                         int64_t out_channels);

// Tiles that are transformed together, so that they stay in the cache of one core: by a correlation, all of their
// entries at a time; by a weight gradient, one row of their entries.
int64_t correlation_tiles(int64_t outputs, int64_t in_channels, int64_t out_channels, int64_t element_size);
int64_t gradient_tiles(int64_t outputs, int64_t in_channels, int64_t out_channels, int64_t element_size);

// Rows of a block, a multiple of the rows of a tile, whose windows of `channels` channels stay within `bytes`.
int64_t winograd_rows(int64_t outputs, const AxisTaps& rows, const AxisTaps& columns, int64_t channels,
                      int64_t element_size, int64_t bytes);

}  // namespace hyperconv

// Which algorithm computes a call: direct sums, or Winograd's for dense 3 x 3 kernels between many channels.
#pragma once

#include "geometry.h"
#include "interface.h"

namespace hyperconv {

// Whether Winograd's algorithm is the faster for `channels` by `channels` of `images` outputs along these axes;
// HYPERCONV_CPU_ALGORITHM=direct or winograd decides for every call that has the choice (for tests and measurements).
bool use_winograd(const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels, int64_t out_channels);

// Tiles that are transformed together: their transforms stay in the cache of one core.
int64_t winograd_tiles(int64_t in_channels, int64_t out_channels, int64_t element_size);

// Output rows of a block whose window of `channels` channels stays within `bytes`: a multiple of a tile's.
int64_t winograd_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t channels, int64_t element_size,
                      int64_t bytes);

}  // namespace hyperconv

// Which kernel a problem is for, by shape and dtype alone.

#pragma once

#include "accumulate_plan.h"
#include "correlate_plan.h"
#include "forced.h"

namespace hyperconv {

// How far from its first element a sample of an image reaches, each size enlarged by the padding around it.
inline bool fits_int(const Image& image, int64_t channels, const Axis& row, const Axis& column, bool is_source) {
  if (image.data == nullptr) return true;
  const auto positions = [&](const Axis& axis) {
    const int64_t side = is_source ? axis.source : axis.destination;
    return side + static_cast<int64_t>(axis.kernel) * axis.dilation;
  };
  return channels * image.stride[1] + positions(row) * image.stride[2] + positions(column) * image.stride[3] <
         kLargestInt;
}

// Whether offsets within a sample of what is gathered fit into 32 bits.
inline bool gathers_in_int(const Correlation& problem) {
  return !forced.wide && fits_int(problem.source, problem.in_channels, problem.row, problem.column, true) &&
         fits_int(problem.source_mask, problem.in_channels, problem.row, problem.column, true);
}

inline bool gathers_in_int(const Accumulation& problem) {
  return !forced.wide && fits_int(problem.input, problem.in_channels, problem.row, problem.column, true);
}

constexpr int64_t kTileChannels = 32;  // input times output channels of a group, below which most of a tile is idle

template <typename Problem>
bool has_tile_products(const Problem& problem) {
  if (forced.gather || problem.dtype == Dtype::float64) return false;
  const int64_t channels = static_cast<int64_t>(problem.in_channels) * problem.out_channels;
  return (forced.shape >= 0 || channels >= kTileChannels) && gathers_in_int(problem);
}

// Whether the kernels on tiles may take a problem; they may still find that no tile fits.
inline bool suits_tiles(const Correlation& problem) {
  const int64_t weights = problem.in_channels * problem.weight_in_stride +
                          problem.row.kernel * problem.weight_entry_stride[0] +
                          problem.column.kernel * problem.weight_entry_stride[1];
  return has_tile_products(problem) && weights < kLargestInt;
}

inline bool suits_tiles(const Accumulation& problem) { return has_tile_products(problem); }

}  // namespace hyperconv

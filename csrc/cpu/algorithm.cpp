#include "algorithm.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "runtime.h"

namespace hyperconv {
namespace {

// Measured: below these, the transforms cost more than the products they save.
constexpr int64_t least_channels = 16, least_pixels = 64;

constexpr int64_t measured = -1;

int64_t forced_outputs() {
  const char* setting = std::getenv("HYPERCONV_CPU_ALGORITHM");
  const std::string name = setting ? setting : "";
  if (name.empty()) return measured;
  if (name == "direct") return 0;
  if (name == "winograd2") return 2;
  if (name == "winograd3") return 3;
  if (name == "winograd4") return 4;
  throw std::runtime_error("HYPERCONV_CPU_ALGORITHM is '" + name +
                           "': set it to direct, winograd2, winograd3 or winograd4, or unset it");
}

bool three_side_by_side(const AxisTaps& axis) {
  const auto& displacement = axis.displacement;
  return axis.step == 1 && displacement.size() == 3 && displacement[1] == displacement[0] + 1 &&
         displacement[2] == displacement[0] + 2;
}

// The errors of PyTorch's sums grow with their length, over channels or pixels, and with the size of the image, and
// those of Winograd's hardly do: the longer the sum, the larger the tile that keeps up with it.
int64_t accurate_outputs(Product product, int64_t channels, int64_t pixels) {
  const bool long_sums = (channels >= 64 && pixels >= 512) || (channels >= 32 && pixels >= 1024);
  const bool large = long_sums || pixels >= 2048;
  switch (product) {
    case Product::convolution: return long_sums ? 4 : 3;
    case Product::weight_gradient: return large ? 4 : 3;
    default: return large ? 3 : 2;
  }
}

int64_t entries(int64_t outputs) { return (outputs + 2) * (outputs + 2); }

}  // namespace

int64_t winograd_outputs(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels,
                         int64_t out_channels) {
  static const int64_t forced = forced_outputs();
  if (!three_side_by_side(rows) || !three_side_by_side(columns)) return 0;
  if (forced != measured) return forced;
  const int64_t channels = std::min(in_channels, out_channels), pixels = rows.outputs * columns.outputs;
  if (channels < least_channels || pixels < least_pixels) return 0;
  return accurate_outputs(product, channels, pixels);
}

int64_t correlation_tiles(int64_t outputs, int64_t in_channels, int64_t out_channels, int64_t element_size) {
  const int64_t tile_bytes = (entries(outputs) + 1) * std::max(in_channels, out_channels) * element_size;
  return std::clamp<int64_t>(2 * cache_bytes() / tile_bytes, 6, 96);
}

int64_t gradient_tiles(int64_t outputs, int64_t in_channels, int64_t out_channels, int64_t element_size) {
  const int64_t tile_bytes = (outputs + 2) * (in_channels + out_channels) * element_size;
  return std::clamp<int64_t>(cache_bytes() / tile_bytes, 16, 128);
}

int64_t winograd_rows(int64_t outputs, const AxisTaps& rows, const AxisTaps& columns, int64_t channels,
                      int64_t element_size, int64_t bytes) {
  const int64_t row_bytes = (columns.outputs + outputs + 2) * channels * element_size;
  const int64_t tile_rows = std::max<int64_t>(1, (bytes / row_bytes - 2) / outputs);
  const int64_t all = std::max<int64_t>((rows.outputs + outputs - 1) / outputs, 1);
  const int64_t blocks = (all + tile_rows - 1) / tile_rows;
  return (all + blocks - 1) / blocks * outputs;
}

}  // namespace hyperconv

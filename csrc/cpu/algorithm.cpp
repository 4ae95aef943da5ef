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
constexpr int64_t least_pair_channels = 8, least_pair_pixels = 1024, most_plane_channels = 4;

constexpr int64_t measured = -1;

std::string forced_algorithm() {
  const char* setting = std::getenv("HYPERCONV_CPU_ALGORITHM");
  return setting ? setting : "";
}

int64_t forced_outputs() {
  const std::string name = forced_algorithm();
  if (name.empty()) return measured;
  if (name == "direct" || name == "row_pairs" || name == "tap_planes") return 0;
  if (name == "winograd2") return 2;
  if (name == "winograd4") return 4;
  throw std::runtime_error("HYPERCONV_CPU_ALGORITHM is '" + name +
                           "': set it to direct, row_pairs, tap_planes, winograd2 or winograd4, or unset it");
}

bool side_by_side(const AxisTaps& axis) {
  for (size_t tap = 1; tap < axis.displacement.size(); ++tap)
    if (axis.displacement[tap] != axis.displacement[tap - 1] + 1) return false;
  return axis.step == 1;
}

bool three_side_by_side(const AxisTaps& axis) { return axis.displacement.size() == 3 && side_by_side(axis); }

// The errors of PyTorch's sums grow with their length, over channels or pixels, and those of F(4 x 4, 3 x 3) do not;
// nor do those of its input gradient, which F(2 x 2, 3 x 3) alone keeps up with.
int64_t accurate_outputs(Product product, int64_t in_channels, int64_t pixels) {
  switch (product) {
    case Product::convolution: return in_channels >= 64 && pixels >= 512 ? 4 : 2;
    case Product::weight_gradient: return pixels >= 1024 ? 4 : 2;
    default: return 2;
  }
}

int64_t entries(int64_t outputs) { return (outputs + 2) * (outputs + 2); }

}  // namespace

int64_t winograd_outputs(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels,
                         int64_t out_channels) {
  static const int64_t forced = forced_outputs();
  if (!three_side_by_side(rows) || !three_side_by_side(columns)) return 0;
  if (forced != measured) return forced;
  const bool few_channels = std::min(in_channels, out_channels) < least_channels;
  if (few_channels || rows.outputs * columns.outputs < least_pixels) return 0;
  return accurate_outputs(product, in_channels, rows.outputs * columns.outputs);
}

bool pairs_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t few, int64_t many) {
  static const std::string forced = forced_algorithm();
  if (!three_side_by_side(rows) || !side_by_side(columns)) return false;
  if (!forced.empty()) return forced == "row_pairs";
  return rows.outputs > 1 && few < least_channels && many >= least_pair_channels;
}

bool pairs_gradient_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t few, int64_t many) {
  const bool enough = few > 1 && rows.outputs * columns.outputs >= least_pair_pixels;
  return pairs_rows(rows, columns, few, many) && (enough || !forced_algorithm().empty());
}

bool takes_planes(const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels, int64_t out_channels) {
  static const std::string forced = forced_algorithm();
  const int64_t taps = rows.displacement.size() * columns.displacement.size();
  if (!side_by_side(rows) || !side_by_side(columns) || taps > most_plane_taps) return false;
  return forced.empty() ? out_channels <= most_plane_channels && in_channels >= 2 * most_plane_channels
                        : forced == "tap_planes";
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

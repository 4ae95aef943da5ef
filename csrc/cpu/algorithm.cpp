#include "algorithm.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "runtime.h"

namespace hyperconv {
namespace {

constexpr int64_t tile_outputs = 4, tile_products = 36;

// Measured: below these, the transforms cost more than the products they save.
constexpr int64_t least_channels = 16, least_pixels = 96;

enum class Choice { measured, direct, winograd };

Choice read_choice() {
  const char* setting = std::getenv("HYPERCONV_CPU_ALGORITHM");
  const std::string name = setting ? setting : "";
  if (name.empty()) return Choice::measured;
  if (name == "direct") return Choice::direct;
  if (name == "winograd") return Choice::winograd;
  throw std::runtime_error("HYPERCONV_CPU_ALGORITHM is '" + name + "': set it to direct or winograd, or unset it");
}

bool three_side_by_side(const AxisTaps& axis) {
  const auto& displacement = axis.displacement;
  return axis.step == 1 && displacement.size() == 3 && displacement[1] == displacement[0] + 1 &&
         displacement[2] == displacement[0] + 2;
}

}  // namespace

bool use_winograd(const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels, int64_t out_channels) {
  static const Choice choice = read_choice();
  if (choice == Choice::direct || !three_side_by_side(rows) || !three_side_by_side(columns)) return false;
  return choice == Choice::winograd ||
         (std::min(in_channels, out_channels) >= least_channels && rows.outputs * columns.outputs >= least_pixels);
}

int64_t winograd_tiles(int64_t in_channels, int64_t out_channels, int64_t element_size) {
  const int64_t bytes = (tile_products + 1) * std::max(in_channels, out_channels) * element_size;
  return std::clamp<int64_t>(2 * cache_bytes() / bytes, 6, 48);
}

int64_t winograd_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t channels, int64_t element_size,
                      int64_t bytes) {
  const int64_t row_bytes = (columns.outputs + 2 + tile_outputs) * channels * element_size;
  const int64_t tile_rows = std::max<int64_t>(1, (bytes / row_bytes - 2) / tile_outputs);
  const int64_t all = (rows.outputs + tile_outputs - 1) / tile_outputs, blocks = (all + tile_rows - 1) / tile_rows;
  return (all + blocks - 1) / blocks * tile_outputs;
}

}  // namespace hyperconv

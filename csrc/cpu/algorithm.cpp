#include "algorithm.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "instruction_set.h"
#include "runtime.h"

namespace hyperconv {
namespace {

// Measured: below these, the transforms cost more than the products they save. Tiles have as many rows as that.
constexpr int64_t least_channels = 16, least_pixels = 64;

enum class Algorithm { measured, direct, winograd2, winograd4, tiles };

Algorithm read_setting() {
  const char* setting = std::getenv("HYPERCONV_CPU_ALGORITHM");
  const std::string name = setting ? setting : "";
  if (name.empty()) return Algorithm::measured;
  if (name == "direct") return Algorithm::direct;
  if (name == "winograd2") return Algorithm::winograd2;
  if (name == "winograd4") return Algorithm::winograd4;
  if (name == "tiles") return Algorithm::tiles;
  throw std::runtime_error("HYPERCONV_CPU_ALGORITHM is '" + name +
                           "': set it to direct, winograd2, winograd4 or tiles, or unset it");
}

Algorithm forced() {
  static const Algorithm algorithm = read_setting();
  return algorithm;
}

bool three_side_by_side(const AxisTaps& axis) {
  const auto& displacement = axis.displacement;
  return axis.step == 1 && displacement.size() == 3 && displacement[1] == displacement[0] + 1 &&
         displacement[2] == displacement[0] + 2;
}

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

bool on_tiles(Dtype dtype, int64_t in_channels, int64_t out_channels) {
  const Algorithm algorithm = forced();
  if (dtype != Dtype::bfloat16 || !kernels().tiles) return false;
  if (algorithm == Algorithm::measured) return std::min(in_channels, out_channels) >= least_channels;
  return algorithm == Algorithm::tiles;
}

int64_t winograd_outputs(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels,
                         int64_t out_channels) {
  const Algorithm algorithm = forced();
  if (algorithm == Algorithm::direct || !three_side_by_side(rows) || !three_side_by_side(columns)) return 0;
  if (algorithm == Algorithm::winograd2) return 2;
  if (algorithm == Algorithm::winograd4) return 4;
  const bool few_channels = std::min(in_channels, out_channels) < least_channels;
  if (few_channels || rows.outputs * columns.outputs < least_pixels) return 0;
  return accurate_outputs(product, in_channels, rows.outputs * columns.outputs);
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

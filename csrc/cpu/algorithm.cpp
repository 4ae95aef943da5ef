#include "algorithm.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

#include "instruction_set.h"
#include "kernel_parts.h"
#include "runtime.h"

namespace hyperconv {
namespace {

// Measured: below this, the transforms cost more than the products they save. Matrix tiles have as many rows.
constexpr int64_t least_channels = 16, least_wide_channels = 32;
// The same for kernels in several parts: more weights to transform, and images that are packed part by part.
constexpr int64_t least_part_channels = 32, least_part_pixels = 256;
constexpr int64_t least_sum = 256;  // channels and taps of an input gradient: PyTorch's own errs less over fewer
constexpr int64_t most_column_elements = 4 << 20;  // of the columns of a weight set: they are all there at once
constexpr int64_t least_pair_channels = 8, least_pair_pixels = 1024;

enum class Setting { measured, direct, tiles, columns, tap_planes, winograd2, winograd3, winograd4, row_pairs };

constexpr std::pair<const char*, Setting> names[] = {
    {"", Setting::measured},           {"direct", Setting::direct},       {"tiles", Setting::tiles},
    {"columns", Setting::columns},     {"tap_planes", Setting::tap_planes}, {"winograd2", Setting::winograd2},
    {"winograd3", Setting::winograd3}, {"winograd4", Setting::winograd4}, {"row_pairs", Setting::row_pairs},
};

Setting read_setting() {
  const char* value = std::getenv("HYPERCONV_CPU_ALGORITHM");
  const std::string wanted = value ? value : "";
  for (const auto& [name, setting] : names) {
    if (wanted == name) return setting;
  }
  throw std::runtime_error("HYPERCONV_CPU_ALGORITHM is '" + wanted +
                           "': set it to direct, tiles, columns, tap_planes, winograd2, winograd3, winograd4 or "
                           "row_pairs, or unset it");
}

Setting forced() {
  static const Setting setting = read_setting();
  return setting;
}

bool side_by_side(const AxisTaps& axis) {
  for (size_t tap = 1; tap < axis.displacement.size(); ++tap)
    if (axis.displacement[tap] != axis.displacement[tap - 1] + 1) return false;
  return axis.step == 1;
}

bool three_side_by_side(const AxisTaps& axis) { return axis.displacement.size() == 3 && side_by_side(axis); }

// The errors of PyTorch's sums grow with their length, over channels or pixels, and with the size of the image, and
// those of Winograd's hardly do: the longer the sum, the larger the tile that keeps up with it. PyTorch's convolution by
// AVX-512 errs by 2.2e-7 of the result whatever the length, and F(4, 3) by 4.9e-7 and more. Where every product is
// rounded before it is added, only the smallest tile keeps up.
int64_t accurate_outputs(Product product, int64_t channels, int64_t pixels) {
  if (!kernels().fused) return 2;
  const bool long_sums = (channels >= 64 && pixels >= 512) || (channels >= 32 && pixels >= 1024);
  const bool large = long_sums || pixels >= 2048;
  switch (product) {
    case Product::convolution: return long_sums && !has_avx512() ? 4 : 3;
    case Product::weight_gradient: return large ? 4 : 3;
    default: return large ? 3 : 2;
  }
}

// Whether there are pixels enough for it to pay; with fewer, columns or direct sums are quicker. The weights of a set
// are transformed once for all its samples, and those that leave the cache cost more.
bool enough_pixels(Product product, int64_t in_channels, int64_t out_channels, int64_t samples, int64_t pixels) {
  if (std::min(in_channels, out_channels) < least_wide_channels) return pixels >= 64;
  const int64_t weights = in_channels * out_channels;
  const bool huge = weights >= 512 * 512;
  if (product == Product::weight_gradient) return pixels >= 36 && samples * pixels >= (huge ? 201 : 64);
  const int64_t of_huge = product == Product::convolution ? 201 : 101;
  return pixels >= 16 && samples * pixels >= (huge ? of_huge : weights < 256 * 256 ? 25 : 49);
}

// The quickest tile of at most `most` outputs a side: products of whole tiles, and weights of every set to transform,
// each at the price of some products.
int64_t quickest_outputs(int64_t most, int64_t height, int64_t width, int64_t samples, int64_t weights) {
  const int64_t price = weights < 256 * 256 ? 12 : 80;
  const auto cost = [&](int64_t outputs) {
    const int64_t tiles = samples * ((height + outputs - 1) / outputs) * ((width + outputs - 1) / outputs);
    return (outputs + 2) * (outputs + 2) * (tiles + price);
  };
  int64_t best = 2;
  for (int64_t outputs = 3; outputs <= most; ++outputs)
    if (cost(outputs) < cost(best)) best = outputs;
  return best;
}

// What a filter would take all parts of a kernel for.
struct Cost {
  Cost(const WinogradFilter& filter, const AxisTaps& rows, const AxisTaps& columns)
      : parts(AxisParts(rows, filter.taps).first.size() * AxisParts(columns, filter.taps).first.size()),
        products(double(parts * filter.inputs() * filter.inputs()) / (filter.outputs * filter.outputs)) {}
  int64_t parts;
  double products;  // per output and pair of channels; of direct sums as many as there are taps
};

// The most products, of those of direct sums, that a filter is worth its transforms for: direct weight gradients are
// further from the machine's rate.
double most_products(Product product) { return product == Product::weight_gradient ? 0.7 : 0.6; }

bool on_tiles(Dtype dtype, int64_t in_channels, int64_t out_channels) {
  const Setting setting = forced();
  if (dtype != Dtype::bfloat16 || !kernels().tiles) return false;
  if (setting == Setting::measured) return std::min(in_channels, out_channels) >= least_channels;
  return setting == Setting::tiles;
}

// Whether columns compute it. Axes and channels are those of the convolution in every product. Measured.
bool takes_columns(Product product, const AxisTaps& rows, const AxisTaps& columns, const Layer& layer) {
  const Setting setting = forced();
  if (setting != Setting::measured) return setting == Setting::columns;
  const int64_t taps = rows.index.size() * columns.index.size(), row = layer.in_channels * taps;  // of weights
  const int64_t image = rows.outputs * columns.outputs, pixels = layer.samples * image, out = layer.out_channels;
  const bool strided = rows.step > 1 || columns.step > 1;
  if (pixels * row > most_column_elements) return false;
  const int64_t narrow = std::min(layer.in_channels, out);
  switch (product) {
    case Product::convolution:
      return (row > 42 && image <= (out >= least_channels ? 20 : 4)) ||
             (out >= least_channels && 8 * pixels <= row && pixels <= 16 * out);
    case Product::input_gradient: {
      if (strided && narrow >= least_part_channels && image >= least_part_pixels) return false;  // Winograd's by phases
      const double most = taps == 1 ? 1 : row <= 196 ? 6 : out > 28 ? 3 : 0.5;
      return pixels <= most * out || (strided && taps > 1 && row <= 118 && image <= 400 && pixels <= 350 * out);
    }
    default:
      return image <= 12 || (image <= 64 && out > 14) ||
             (image <= 256 && row > 42 && narrow > 10 && pixels <= 12 * out);
  }
}

// Whether the planes of few outputs pay: they are whole tiles of many pixels.
bool takes_planes(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t in_channels,
                  int64_t out_channels) {
  const Setting setting = forced();
  const int64_t taps = rows.displacement.size() * columns.displacement.size();
  if (!side_by_side(rows) || !side_by_side(columns) || taps > most_plane_taps) return false;
  if (setting != Setting::measured) return setting == Setting::tap_planes;
  const int64_t pixels = rows.outputs * columns.outputs;
  if (taps < 9 && product != Product::convolution) return false;
  if (out_channels == 1) return in_channels >= 8 && pixels >= (kernels().wide ? 196 : 64);
  return kernels().wide && out_channels <= 4 && in_channels >= 16 * out_channels && pixels >= 256;
}

WinogradFilter winograd_filter(Product product, const AxisTaps& rows, const AxisTaps& columns, int64_t samples,
                               int64_t in_channels, int64_t out_channels) {
  const int64_t taps = rows.displacement.size() * columns.displacement.size();
  const int64_t channels = std::min(in_channels, out_channels), pixels = rows.outputs * columns.outputs;
  const bool three_by_three = three_side_by_side(rows) && three_side_by_side(columns);
  int64_t outputs = 0;
  switch (forced()) {
    case Setting::measured:
      if (channels < least_channels || !enough_pixels(product, in_channels, out_channels, samples, pixels)) return {};
      outputs = accurate_outputs(product, channels, pixels);
      if (three_by_three)
        outputs = quickest_outputs(outputs, rows.outputs, columns.outputs, samples, in_channels * out_channels);
      break;
    case Setting::winograd2: outputs = 2; break;
    case Setting::winograd3: outputs = 3; break;
    case Setting::winograd4: outputs = 4; break;
    default: return {};
  }
  if (three_by_three) return {outputs, 3};
  if (taps > most_kernel_entries) return {};
  const WinogradFilter threes{outputs, 3}, twos{4, 2};
  const Cost by_threes(threes, rows, columns), by_twos(twos, rows, columns);
  const bool two = by_twos.products < by_threes.products;
  const Cost& least = two ? by_twos : by_threes;
  if (least.products > most_products(product) * taps) return {};
  if (forced() == Setting::measured) {
    if (least.parts > 1 && (channels < least_part_channels || pixels < least_part_pixels)) return {};
    if (two && !kernels().fused) return {};
    if (two && product == Product::input_gradient && in_channels * taps < least_sum) return {};
  }
  return two ? twos : threes;
}

bool pairs_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t few, int64_t many) {
  const Setting setting = forced();
  if (!three_side_by_side(rows) || !side_by_side(columns)) return false;
  if (setting != Setting::measured) return setting == Setting::row_pairs;
  return rows.outputs > 1 && few < least_channels && many >= least_pair_channels;
}

}  // namespace

Algorithm correlation_algorithm(Product product, const AxisTaps& rows, const AxisTaps& columns, const Layer& layer) {
  const int64_t in = layer.in_channels, out = layer.out_channels;
  if (on_tiles(layer.dtype, in, out)) return {Way::tiles, {}};
  if (takes_planes(product, rows, columns, in, out)) return {Way::planes, {}};
  if (const WinogradFilter filter = winograd_filter(product, rows, columns, layer.samples, in, out))
    return {Way::winograd, filter};
  if (product == Product::convolution && takes_columns(product, rows, columns, layer)) return {Way::columns, {}};
  return {pairs_rows(rows, columns, in, out) ? Way::pairs : Way::direct, {}};
}

bool scatters(const AxisTaps& rows, const AxisTaps& columns, const Layer& layer) {
  const int64_t in = layer.in_channels, out = layer.out_channels;
  if (on_tiles(layer.dtype, out, in) || !takes_columns(Product::input_gradient, rows, columns, layer)) return false;
  const bool strided = rows.step > 1 || columns.step > 1;  // whose phases have taps of their own
  return strided || !winograd_filter(Product::input_gradient, rows, columns, layer.samples, out, in);
}

Algorithm accumulation_algorithm(const AxisTaps& rows, const AxisTaps& columns, const Layer& layer) {
  const int64_t in = layer.in_channels, out = layer.out_channels;
  if (on_tiles(layer.dtype, in, out)) return {Way::tiles, {}};
  if (const WinogradFilter filter = winograd_filter(Product::weight_gradient, rows, columns, layer.samples, in, out))
    return {Way::winograd, filter};
  return {takes_columns(Product::weight_gradient, rows, columns, layer) ? Way::columns : Way::direct, {}};
}

bool pairs_gradient_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t few, int64_t many) {
  const bool pays = rows.outputs * columns.outputs >= least_pair_pixels && !kernels().wide;
  return pairs_rows(rows, columns, few, many) && (pays || forced() != Setting::measured);
}

int64_t correlation_tiles(const WinogradFilter& filter, int64_t in_channels, int64_t out_channels,
                          int64_t element_size) {
  const int64_t entries = filter.inputs() * filter.inputs();
  const int64_t tile_bytes = (entries + 1) * std::max(in_channels, out_channels) * element_size;
  return std::clamp<int64_t>(2 * cache_bytes() / tile_bytes, 6, 96);
}

int64_t gradient_tiles(const WinogradFilter& filter, int64_t in_channels, int64_t out_channels, int64_t element_size) {
  const int64_t tile_bytes = filter.inputs() * (in_channels + out_channels) * element_size;
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

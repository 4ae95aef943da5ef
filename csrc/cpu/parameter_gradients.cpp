// The gradients by weight and bias: sums over pixels of grad times input, and of grad alone.
#include <algorithm>

#include "algorithm.h"
#include "arguments.h"
#include "geometry.h"
#include "instruction_set.h"
#include "kernel_parts.h"
#include "operations.h"
#include "runtime.h"
#include "scratch.h"

namespace hyperconv {
namespace {

// Rows of every block when `rows` are cut into as few as possible of at most `limit`.
int64_t balanced(int64_t rows, int64_t limit) {
  const int64_t blocks = (rows + limit - 1) / limit;
  return blocks > 0 ? (rows + blocks - 1) / blocks : 1;
}

// Pixels of one block of an accumulation: enough to pay for the sums across lanes at its end.
constexpr int64_t accumulation_pixels = 2048;
constexpr int64_t accumulation_units = 32;
constexpr int64_t accumulation_bytes = int64_t(64) << 20;

constexpr int64_t chunk_tiles = 256;  // enough to pay for a set of sums over transformed tiles
constexpr int64_t least_part_channels = 16;  // enough to pay for transforming the input once more

// The number of independent partial sums, of `part` elements each; `blocks` is what there is to share out.
int64_t chunks_of(const Accumulation& work, int64_t blocks, int64_t part) {
  const int64_t pairs = work.sets * work.groups, bytes = part * sum_bytes(work.dtype) * pairs;
  return std::max<int64_t>(std::min({blocks, accumulation_units / pairs, accumulation_bytes / bytes}), 1);
}

// Channels of the parts that `out` channels of each of `units` are cut into, so that all threads have as much to do:
// every part transforms the input for itself.
int64_t channels_of_part(int64_t out, int64_t units) {
  const int64_t threads = thread_count(), most = out / least_part_channels;
  int64_t parts = 1;
  while (parts < most && units * parts % threads != 0 && units * parts < 4 * threads) ++parts;
  return (out + parts - 1) / parts;
}

// Part by part of the kernel; the sums of `fixed` come with the first.
void run_winograd(Accumulation& work, const WinogradFilter& filter, const AxisTaps& rows, const AxisTaps& columns,
                  int64_t row_stride, int64_t column_stride) {
  const int64_t bytes = sum_bytes(work.dtype), outputs = filter.outputs, side = filter.inputs();
  const int64_t in = work.shifted_channels, out = work.fixed_channels;
  work.tile_outputs = outputs;
  work.block_rows = winograd_rows(outputs, rows, columns, in + out, bytes, 3 * cache_bytes());
  work.tiles_at_once = gradient_tiles(filter, in, out, bytes);
  const Layout layout(rows, columns, work.block_rows, row_stride, column_stride);
  const PartsLayout parts(rows, columns, filter.taps);
  work.taps = layout.taps;
  const int64_t samples = work.fixed.size[0] / work.sets, pixels = rows.outputs * columns.outputs;
  const int64_t blocks = samples * ((rows.outputs + work.block_rows - 1) / work.block_rows);
  const int64_t worth = std::max<int64_t>(samples * pixels / (outputs * outputs * chunk_tiles), 1);
  work.chunks = chunks_of(work, std::min(blocks, worth), in * out * side * side);
  work.part_channels = channels_of_part(out, work.sets * work.groups * work.chunks);
  for (int64_t part = 0; part < parts.all.count; ++part, work.sums = nullptr) {
    work.parts = parts.only(part);
    kernels().accumulate_winograd(work, runtime());
  }
}

// Two rows at a time, by row_pairs.h.
void run_pairs(Accumulation& work, const AxisTaps& rows, const AxisTaps& columns, int64_t row_stride,
               int64_t column_stride) {
  const int64_t wanted = std::max<int64_t>(accumulation_pixels / std::max<int64_t>(columns.outputs, 1), 2);
  work.block_rows = (balanced(rows.outputs, std::min(wanted, rows.outputs)) + 1) / 2 * 2;
  const Layout layout(rows, columns, work.block_rows, row_stride, column_stride);
  work.window = layout.window;
  work.taps = layout.taps;
  const int64_t blocks = work.fixed.size[0] / work.sets * ((rows.outputs + work.block_rows - 1) / work.block_rows);
  work.chunks = chunks_of(work, blocks, work.fixed_channels * work.shifted_channels * 4 * columns.index.size());
  kernels().accumulate_pairs(work, runtime());
}

void run_columns(Accumulation& work, const AxisTaps& rows, const AxisTaps& columns) {
  const int64_t kernel_width = columns.index.size();
  const ColumnLayout layout(rows, columns, work.shifted.size[2], work.shifted.size[3], kernel_width, 1);
  work.columns = layout.table;
  work.taps = layout.taps;
  kernels().accumulate_columns(work, runtime());
}

// Blocks and chunks depend on the problem alone, so the order of every sum does too.
void run_accumulation(Accumulation& work, bool tiles, const AxisTaps& rows, const AxisTaps& columns, int64_t row_stride,
                      int64_t column_stride) {
  const int64_t bytes = tiles ? 2 : sum_bytes(work.dtype);
  const int64_t channels = work.fixed_channels + work.shifted_channels;
  const int64_t wanted = std::max<int64_t>(accumulation_pixels / std::max<int64_t>(columns.outputs, 1), 1);
  const int64_t limit = std::min(std::max<int64_t>(rows.outputs, 1), wanted);
  work.block_rows = std::min(limit, choose_block_rows(rows, columns, channels, bytes, 2 * cache_bytes()));
  work.block_rows = balanced(rows.outputs, work.block_rows);
  // A thin `shifted` is packed once for every column of the kernel, so that all rows of `fixed` are one copy.
  const bool thin = !tiles && work.shifted_channels * int64_t(columns.index.size()) <= work.fixed_channels;
  const Layout layout(rows, columns, work.block_rows, row_stride, column_stride, thin);
  work.window = layout.window;
  work.taps = layout.taps;

  const bool in_order = std::is_sorted(work.taps.weight, work.taps.weight + work.taps.count);
  const int64_t row_blocks = (rows.outputs + work.block_rows - 1) / work.block_rows;
  const int64_t blocks = work.fixed.size[0] / work.sets * row_blocks;
  work.chunks = chunks_of(work, blocks, work.fixed_channels * work.shifted_channels * work.taps.count);
  if (tiles) return kernels().tiles->accumulate(work, runtime());
  work.result_is_part = work.chunks == 1 && work.result_shifted_stride < work.result_fixed_stride && in_order;
  kernels().accumulate(work, runtime());
}

struct Arguments {
  const Tensor& grad;
  const Tensor& input;
  const MaybeTensor& mask;
  int64_t weight_sets;
  const Ints& kernel_size;
  const Geometry& geometry;
  double negative_slope;

  int64_t samples() const { return grad.size(0) / weight_sets; }  // of a weight set
  int64_t in_channels() const { return input.size(1) / geometry.groups; }
  int64_t out_channels() const { return grad.size(1) / geometry.groups; }
  Algorithm algorithm() const {
    if (empty()) return {Way::direct, {}};  // of nothing, perhaps of no weight set
    return accumulation_algorithm(axis(0), axis(1), {dtype_of(grad), samples(), in_channels(), out_channels()});
  }
  AxisTaps axis(int i) const {
    return forward_taps(grad.size(2 + i), kernel_size[i], geometry.stride[i], geometry.padding[i],
                        geometry.dilation[i]);
  }
  bool empty() const { return grad.numel() == 0 || input.numel() == 0; }

  // Reading the shifted factor is the expensive side, so it is the one with fewer channels where that is possible.
  bool shift_grad(Way way) const {
    return way == Way::direct && out_channels() < in_channels() && geometry.stride[0] == 1 && geometry.stride[1] == 1;
  }
};

void check(const Arguments& call) {
  const Tensor &grad = call.grad, &input = call.input;
  const int64_t groups = call.geometry.groups;
  image_of("grad", grad), image_of("input", input);
  check_same_kind("input", input, "grad", grad);
  check_sets(call.weight_sets, grad.size(0));
  STD_TORCH_CHECK(call.kernel_size.size() == 2, "kernel_size needs two values, got ", call.kernel_size.size());
  STD_TORCH_CHECK(input.size(1) % groups == 0 && grad.size(1) % groups == 0, "the input has ", input.size(1),
                  " channels and grad ", grad.size(1), ": both must be multiples of ", groups, " groups");
  check_shape("grad", grad, {input.size(0), grad.size(1),
                             call.geometry.output_size(0, input.size(2), call.kernel_size[0]),
                             call.geometry.output_size(1, input.size(3), call.kernel_size[1])});
  check_mask(call.mask, grad);
}

Tensor new_weight(const Arguments& call) {
  return new_contiguous(call.grad, {call.weight_sets, call.grad.size(1), call.in_channels(), call.kernel_size[0],
                                    call.kernel_size[1]});
}

Tensor new_bias(const Tensor& grad, int64_t weight_sets) { return new_contiguous(grad, {weight_sets, grad.size(1)}); }

// `bias` receives the sums of grad; nullptr where they are not wanted, the call is empty, or grad is shifted.
void fill_weight(const Tensor& weight, void* bias, const Arguments& call, const Algorithm& algorithm) {
  if (call.empty()) return zero(weight);
  Accumulation work{};
  work.dtype = dtype_of(call.grad);
  work.result = weight.data_ptr();
  work.result_set_stride = weight.stride(0);
  work.result_group_stride = call.out_channels() * weight.stride(1);
  work.sums = bias;
  work.sets = call.weight_sets;
  work.groups = call.geometry.groups;
  work.negative_slope = call.negative_slope;
  const Image grad = image_of("grad", call.grad), input = image_of("input", call.input);
  const Image mask = optional_image("mask", call.mask);
  const auto &padding = call.geometry.padding, &dilation = call.geometry.dilation;
  AxisTaps axes[2];
  if (call.shift_grad(algorithm.way)) {
    work.fixed = input;
    work.shifted = grad;
    work.shifted_mask = mask;
    work.fixed_channels = call.in_channels();
    work.shifted_channels = call.out_channels();
    work.result_fixed_stride = weight.stride(2);
    work.result_shifted_stride = weight.stride(1);
    for (int i = 0; i < 2; ++i)
      axes[i] = transposed_taps(input.size[2 + i], 0, call.kernel_size[i], 1, padding[i], dilation[i]);
  } else {
    work.fixed = grad;
    work.fixed_mask = mask;
    work.shifted = input;
    work.fixed_channels = call.out_channels();
    work.shifted_channels = call.in_channels();
    work.result_fixed_stride = weight.stride(1);
    work.result_shifted_stride = weight.stride(2);
    for (int i = 0; i < 2; ++i) axes[i] = call.axis(i);
  }
  if (algorithm.way == Way::columns) return run_columns(work, axes[0], axes[1]);
  const int64_t row_stride = weight.stride(3), column_stride = weight.stride(4);
  if (algorithm.way == Way::winograd)
    return run_winograd(work, algorithm.filter, axes[0], axes[1], row_stride, column_stride);
  const bool tiles = algorithm.way == Way::tiles;
  const bool rows_in_order = work.fixed.stride[3] == 1;  // measured: interleaved channels are better packed all at once
  const bool pairs = !tiles && rows_in_order &&
                     pairs_gradient_rows(axes[0], axes[1], work.shifted_channels, work.fixed_channels);
  if (pairs) return run_pairs(work, axes[0], axes[1], row_stride, column_stride);
  run_accumulation(work, tiles, axes[0], axes[1], row_stride, column_stride);
}

void fill_bias(const Tensor& bias, const Tensor& grad, const MaybeTensor& mask, double negative_slope) {
  if (grad.numel() == 0) return zero(bias);
  BiasSum work{};
  work.dtype = dtype_of(grad);
  work.grad = image_of("grad", grad);
  work.mask = optional_image("mask", mask);
  work.result = bias.data_ptr();
  work.sets = bias.size(0);
  work.negative_slope = negative_slope;
  kernels().bias_sum(work, runtime());
}

}  // namespace

Tensor weight_gradient(const Tensor& grad, const Tensor& input, const MaybeTensor& mask, int64_t weight_sets,
                       const Ints& kernel_size, const Ints& stride, const Ints& padding, const Ints& dilation,
                       int64_t groups, double negative_slope) {
  const Geometry geometry(stride, padding, dilation, groups);
  const Arguments call{grad, input, mask, weight_sets, kernel_size, geometry, negative_slope};
  check(call);
  const Tensor weight = new_weight(call);
  const Trim trim;
  fill_weight(weight, nullptr, call, call.algorithm());
  return weight;
}

Tensor bias_gradient(const Tensor& grad, const MaybeTensor& mask, int64_t weight_sets, double negative_slope) {
  image_of("grad", grad);
  check_sets(weight_sets, grad.size(0));
  check_mask(mask, grad);
  const Tensor bias = new_bias(grad, weight_sets);
  const Trim trim;
  fill_bias(bias, grad, mask, negative_slope);
  return bias;
}

std::tuple<Tensor, Tensor> parameter_gradients(const Tensor& grad, const Tensor& input, const MaybeTensor& mask,
                                               int64_t weight_sets, const Ints& kernel_size, const Ints& stride,
                                               const Ints& padding, const Ints& dilation, int64_t groups,
                                               double negative_slope) {
  const Geometry geometry(stride, padding, dilation, groups);
  const Arguments call{grad, input, mask, weight_sets, kernel_size, geometry, negative_slope};
  check(call);
  const Tensor weight = new_weight(call), bias = new_bias(grad, weight_sets);
  const Trim trim;
  // A shifted grad is packed with overlaps and gaps; but then it is the smaller factor, and read again at little cost.
  const Algorithm algorithm = call.algorithm();
  const bool together = !call.empty() && !call.shift_grad(algorithm.way) && algorithm.way != Way::tiles;
  fill_weight(weight, together ? bias.data_ptr() : nullptr, call, algorithm);
  if (!together) fill_bias(bias, grad, mask, negative_slope);
  return {weight, bias};
}

}  // namespace hyperconv

#include "operations.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstring>

#include "arguments.h"
#include "geometry.h"
#include "instruction_set.h"
#include "runtime.h"
#include "scratch.h"

namespace hyperconv {
namespace {

// Frees oversized scratch memory when an operation ends, however it ends.
struct Trim {
  ~Trim() { trim_scratch(); }
};

void zero(const Tensor& tensor, int64_t element_size) {
  if (tensor.numel() > 0) std::memset(tensor.data_ptr(), 0, tensor.numel() * element_size);
}

int64_t storage_bytes(Dtype dtype) { return dtype == Dtype::float64 ? 8 : dtype == Dtype::float32 ? 4 : 2; }
int64_t sum_bytes(Dtype dtype) { return dtype == Dtype::float64 ? 8 : 4; }

// Rows per block that fit the cache, fewer where the threads would otherwise stand idle.
int64_t correlation_rows(const Correlation& work, const AxisTaps& rows, const AxisTaps& columns) {
  int64_t block = choose_block_rows(rows, columns, work.in_channels, sum_bytes(work.dtype), cache_bytes());
  const int64_t units = 2 * thread_count(), parts = work.output.size[0] * work.groups;
  const auto idle = [&] { return parts * ((rows.outputs + block - 1) / block) < units; };
  while (thread_count() > 1 && block > 4 && idle()) block = (block + 1) / 2;
  return block;
}

void run_correlation(Correlation& work, const AxisTaps& rows, const AxisTaps& columns, const Tensor& weight) {
  work.block_rows = correlation_rows(work, rows, columns);
  const Layout layout(rows, columns, work.block_rows, weight.stride(3), weight.stride(4));
  work.window = layout.window;
  work.taps = layout.taps;
  kernels().correlate(work, runtime());
}

Tensor convolve(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                const std::optional<Tensor>& mask, const Geometry& geometry, Activation activation, double slope) {
  Correlation work{};
  work.dtype = dtype_of(input);
  work.input = image_of("input", input);
  check_same_dtype("weight", weight, "input", input);
  check_weight(weight, input.size(0), input.size(1), geometry.groups);
  check_bias(bias, weight);
  const int64_t height = geometry.output_size(0, input.size(2), weight.size(3));
  const int64_t width = geometry.output_size(1, input.size(3), weight.size(4));
  const Tensor output = new_image(input, {input.size(0), weight.size(1), height, width});
  check_mask(mask, output);
  if (output.numel() == 0) return output;

  work.output = image_of("output", output);
  work.output_mask = optional_image("mask", mask);
  work.sets = weight.size(0);
  work.groups = geometry.groups;
  work.in_channels = weight.size(2);
  work.out_channels = weight.size(1) / geometry.groups;
  work.weight = weight.data_ptr();
  work.weight_set_stride = weight.size(0) == 1 ? 0 : weight.stride(0);
  work.weight_group_stride = work.out_channels * weight.stride(1);
  work.weight_out_stride = weight.stride(1);
  work.weight_in_stride = weight.stride(2);
  if (bias) {
    work.bias = bias->data_ptr();
    work.bias_set_stride = weight.size(0) == 1 ? 0 : bias->stride(0);
    work.bias_stride = bias->stride(1);
  }
  work.activation = activation;
  work.negative_slope = slope;
  const Trim trim;
  run_correlation(work,
                  forward_taps(height, weight.size(3), geometry.stride[0], geometry.padding[0], geometry.dilation[0]),
                  forward_taps(width, weight.size(4), geometry.stride[1], geometry.padding[1], geometry.dilation[1]),
                  weight);
  return output;
}

// Rows of every block when `rows` are cut into as few as possible of at most `limit`.
int64_t balanced(int64_t rows, int64_t limit) {
  const int64_t blocks = (rows + limit - 1) / limit;
  return blocks > 0 ? (rows + blocks - 1) / blocks : 1;
}

// Pixels of one block of an accumulation: enough to pay for the sums across lanes at its end.
constexpr int64_t accumulation_pixels = 2048;
constexpr int64_t accumulation_units = 32;
constexpr int64_t accumulation_bytes = int64_t(64) << 20;

// Blocks and chunks depend on the problem alone, so the order of every sum does too.
void run_accumulation(Accumulation& work, const AxisTaps& rows, const AxisTaps& columns, int64_t row_stride,
                      int64_t column_stride) {
  const int64_t bytes = sum_bytes(work.dtype);
  const int64_t channels = work.fixed_channels + work.shifted_channels;
  const int64_t wanted = std::max<int64_t>(accumulation_pixels / std::max<int64_t>(columns.outputs, 1), 1);
  const int64_t limit = std::min(std::max<int64_t>(rows.outputs, 1), wanted);
  work.block_rows = std::min(limit, choose_block_rows(rows, columns, channels, bytes, 2 * cache_bytes()));
  work.block_rows = balanced(rows.outputs, work.block_rows);
  const Layout layout(rows, columns, work.block_rows, row_stride, column_stride);
  work.window = layout.window;
  work.taps = layout.taps;

  const bool in_order = std::is_sorted(work.taps.weight, work.taps.weight + work.taps.count);
  const int64_t row_blocks = (rows.outputs + work.block_rows - 1) / work.block_rows;
  const int64_t blocks = work.fixed.size[0] / work.sets * row_blocks, pairs = work.sets * work.groups;
  const int64_t result = work.fixed_channels * work.shifted_channels * work.taps.count * bytes * pairs;
  work.chunks = std::min({blocks, accumulation_units / pairs, accumulation_bytes / result});
  work.chunks = std::max<int64_t>(work.chunks, 1);
  work.result_is_part = work.chunks == 1 && work.result_shifted_stride < work.result_fixed_stride && in_order;
  kernels().accumulate(work, runtime());
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, std::optional<Tensor> bias, Ints stride, Ints padding,
              Ints dilation, int64_t groups, int64_t activation, double negative_slope) {
  STD_TORCH_CHECK(activation >= 0 && activation <= 3, "activation must be 0 (none), 1 (relu), 2 (leaky_relu) or 3 "
                  "(tanh), got ", activation);
  return convolve(input, weight, bias, std::nullopt, Geometry(stride, padding, dilation, groups),
                  static_cast<Activation>(activation), negative_slope);
}

Tensor masked_conv2d(const Tensor& input, const Tensor& weight, std::optional<Tensor> bias, std::optional<Tensor> mask,
                     Ints stride, Ints padding, Ints dilation, int64_t groups, double negative_slope) {
  return convolve(input, weight, bias, mask, Geometry(stride, padding, dilation, groups), Activation::none,
                  negative_slope);
}

Tensor input_gradient(const Tensor& grad, const Tensor& weight, std::optional<Tensor> mask, Ints input_size,
                      Ints stride, Ints padding, Ints dilation, int64_t groups, double negative_slope) {
  const Geometry geometry(stride, padding, dilation, groups);
  Correlation work{};
  work.dtype = dtype_of(grad);
  work.input = image_of("grad", grad);
  check_same_dtype("weight", weight, "grad", grad);
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions, got ", weight.dim());
  check_weight(weight, grad.size(0), weight.size(2) * groups, groups);
  STD_TORCH_CHECK(input_size.size() == 2, "input_size needs two values, got ", input_size.size());
  check_shape("grad", grad, {grad.size(0), weight.size(1), geometry.output_size(0, input_size[0], weight.size(3)),
                             geometry.output_size(1, input_size[1], weight.size(4))});
  check_mask(mask, grad);
  const Tensor output = new_image(grad, {grad.size(0), weight.size(2) * groups, input_size[0], input_size[1]});
  if (output.numel() == 0) return output;

  work.input_mask = optional_image("mask", mask);
  work.sets = weight.size(0);
  work.groups = groups;
  work.in_channels = weight.size(1) / groups;
  work.out_channels = weight.size(2);
  work.weight = weight.data_ptr();
  work.weight_set_stride = weight.size(0) == 1 ? 0 : weight.stride(0);
  work.weight_group_stride = work.in_channels * weight.stride(1);
  work.weight_out_stride = weight.stride(2);
  work.weight_in_stride = weight.stride(1);
  work.negative_slope = negative_slope;

  // A stride splits the input into phases, each met by some of the kernel entries; phases met by none stay zero.
  const Trim trim;
  const Image whole = image_of("output", output);
  if (stride[0] > 1 || stride[1] > 1) zero(output, storage_bytes(work.dtype));
  for (int64_t i = 0; i < std::min(stride[0], input_size[0]); ++i) {
    const AxisTaps rows = transposed_taps(input_size[0], i, weight.size(3), stride[0], padding[0], dilation[0]);
    if (rows.index.empty()) continue;
    for (int64_t j = 0; j < std::min(stride[1], input_size[1]); ++j) {
      const AxisTaps columns = transposed_taps(input_size[1], j, weight.size(4), stride[1], padding[1], dilation[1]);
      if (columns.index.empty()) continue;
      const int64_t first = i * whole.stride[2] + j * whole.stride[3];
      work.output = whole;
      work.output.data = static_cast<char*>(whole.data) + first * storage_bytes(work.dtype);
      work.output.size[2] = rows.outputs;
      work.output.size[3] = columns.outputs;
      work.output.stride[2] *= stride[0];
      work.output.stride[3] *= stride[1];
      run_correlation(work, rows, columns, weight);
    }
  }
  return output;
}

Tensor weight_gradient(const Tensor& grad, const Tensor& input, std::optional<Tensor> mask, int64_t weight_sets,
                       Ints kernel_size, Ints stride, Ints padding, Ints dilation, int64_t groups,
                       double negative_slope) {
  const Geometry geometry(stride, padding, dilation, groups);
  Accumulation work{};
  work.dtype = dtype_of(grad);
  const Image grad_image = image_of("grad", grad), input_image = image_of("input", input);
  check_same_dtype("input", input, "grad", grad);
  check_sets(weight_sets, grad.size(0));
  STD_TORCH_CHECK(kernel_size.size() == 2, "kernel_size needs two values, got ", kernel_size.size());
  STD_TORCH_CHECK(input.size(1) % groups == 0 && grad.size(1) % groups == 0, "the input has ", input.size(1),
                  " channels and grad ", grad.size(1), ": both must be multiples of ", groups, " groups");
  const int64_t height = geometry.output_size(0, input.size(2), kernel_size[0]);
  const int64_t width = geometry.output_size(1, input.size(3), kernel_size[1]);
  check_shape("grad", grad, {input.size(0), grad.size(1), height, width});
  check_mask(mask, grad);
  const int64_t in_channels = input.size(1) / groups, out_channels = grad.size(1) / groups;
  const Tensor result =
      new_contiguous(grad, {weight_sets, grad.size(1), in_channels, kernel_size[0], kernel_size[1]});
  if (grad.numel() == 0 || result.numel() == 0) {
    zero(result, storage_bytes(work.dtype));
    return result;
  }

  work.result = result.data_ptr();
  work.result_set_stride = result.stride(0);
  work.result_group_stride = out_channels * result.stride(1);
  work.sets = weight_sets;
  work.groups = groups;
  work.negative_slope = negative_slope;
  const Trim trim;
  // Reading the shifted factor is the expensive side, so it is the one with fewer channels where that is possible.
  const bool shift_grad = out_channels < in_channels && stride[0] == 1 && stride[1] == 1;
  AxisTaps rows, columns;
  if (shift_grad) {
    work.fixed = input_image;
    work.shifted = grad_image;
    work.shifted_mask = optional_image("mask", mask);
    work.fixed_channels = in_channels;
    work.shifted_channels = out_channels;
    work.result_fixed_stride = result.stride(2);
    work.result_shifted_stride = result.stride(1);
    rows = transposed_taps(input.size(2), 0, kernel_size[0], 1, padding[0], dilation[0]);
    columns = transposed_taps(input.size(3), 0, kernel_size[1], 1, padding[1], dilation[1]);
  } else {
    work.fixed = grad_image;
    work.fixed_mask = optional_image("mask", mask);
    work.shifted = input_image;
    work.fixed_channels = out_channels;
    work.shifted_channels = in_channels;
    work.result_fixed_stride = result.stride(1);
    work.result_shifted_stride = result.stride(2);
    rows = forward_taps(height, kernel_size[0], stride[0], padding[0], dilation[0]);
    columns = forward_taps(width, kernel_size[1], stride[1], padding[1], dilation[1]);
  }
  run_accumulation(work, rows, columns, result.stride(3), result.stride(4));
  return result;
}

Tensor bias_gradient(const Tensor& grad, std::optional<Tensor> mask, int64_t weight_sets, double negative_slope) {
  BiasSum work{};
  work.dtype = dtype_of(grad);
  work.grad = image_of("grad", grad);
  work.mask = optional_image("mask", mask);
  check_sets(weight_sets, grad.size(0));
  check_mask(mask, grad);
  const Tensor result = new_contiguous(grad, {weight_sets, grad.size(1)});
  if (grad.numel() == 0 || result.numel() == 0) {
    zero(result, storage_bytes(work.dtype));
    return result;
  }
  work.result = result.data_ptr();
  work.sets = weight_sets;
  work.negative_slope = negative_slope;
  const Trim trim;
  kernels().bias_sum(work, runtime());
  return result;
}

std::tuple<Tensor, Tensor> parameter_gradients(const Tensor& grad, const Tensor& input, std::optional<Tensor> mask,
                                               int64_t weight_sets, Ints kernel_size, Ints stride, Ints padding,
                                               Ints dilation, int64_t groups, double negative_slope) {
  return {weight_gradient(grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups,
                          negative_slope),
          bias_gradient(grad, mask, weight_sets, negative_slope)};
}

}  // namespace hyperconv

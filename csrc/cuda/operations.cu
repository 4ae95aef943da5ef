// The operators of hyperconv/ops/schema.py on CUDA tensors.

#include <atomic>
#include <tuple>

#include "arguments.h"
#include "current_device.h"
#include "dispatch.h"
#include "kernels.h"

namespace hyperconv {
namespace {

std::atomic<bool> tf32_is_allowed{false};

void run(const Correlation& problem, const Device& device) {
  if (suits_tiles(problem) && correlate_tile(problem, device.limits, device.stream)) return;
  correlate_gather(problem, gathers_in_int(problem), device.stream);
}

// Memory for the sums of the parts, where there are several; it outlives the launches in the order of the stream.
MaybeTensor partial_sums(Parts& parts, const Tensor& like) {
  if (parts.count == 1) return std::nullopt;
  const ScalarType dtype = like.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const Tensor partial =
      new_tensor(like, {parts.count * (parts.values + parts.bias_values)}, dtype, MemoryFormat::Contiguous);
  parts.partial = partial.mutable_data_ptr();
  return partial;
}

void set_weight(Correlation& problem, const Tensor& weight, int out_dimension, int in_dimension, int64_t groups) {
  problem.dtype = dtype_of(weight);
  problem.tf32 = tf32_is_allowed;
  problem.weight = weight.const_data_ptr();
  problem.weight_set_stride = weight.stride(0);
  problem.weight_group_stride = weight.size(1) / groups * weight.stride(1);
  problem.weight_out_stride = weight.stride(out_dimension);
  problem.weight_in_stride = weight.stride(in_dimension);
  for (int i = 0; i < 2; ++i) problem.weight_entry_stride[i] = weight.size(3 + i) == 1 ? 0 : weight.stride(3 + i);
  problem.sets = weight.size(0);
  problem.groups = whole(groups);
}

Tensor convolve(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, const MaybeTensor& mask,
                const IntGeometry& geometry, int64_t activation, double negative_slope) {
  const Image source = image_of("input", input);
  check_weight(weight, "the image", input, input.size(1), geometry.groups);
  check_bias(bias, weight);
  const int64_t height = geometry.output_size(0, input.size(2), weight.size(3));
  const int64_t width = geometry.output_size(1, input.size(3), weight.size(4));
  const Device device(input);
  const Tensor output = new_image(input, {input.size(0), weight.size(1), height, width});
  check_mask(mask, output);
  if (output.numel() == 0) return output;

  Correlation problem{};
  set_weight(problem, weight, 1, 2, geometry.groups);
  problem.samples_per_set = input.size(0) / weight.size(0);
  problem.in_channels = whole(weight.size(2));
  problem.out_channels = whole(weight.size(1) / geometry.groups);
  problem.source = source;
  problem.destination = image_of("output", output);
  problem.destination_mask = optional_image("mask", mask);
  problem.row = geometry.forward(0, height, input.size(2), weight.size(3));
  problem.column = geometry.forward(1, width, input.size(3), weight.size(4));
  if (bias) {
    problem.bias = bias->const_data_ptr();
    problem.bias_set_stride = bias->stride(0);
    problem.bias_stride = bias->stride(1);
  }
  problem.activation = static_cast<int>(activation);
  problem.negative_slope = negative_slope;
  run(problem, device);
  return output;
}

Tensor conv2d(const Tensor& input, const Tensor& weight, MaybeTensor bias, Ints stride, Ints padding, Ints dilation,
              int64_t groups, int64_t activation, double negative_slope) {
  STD_TORCH_CHECK(kNone <= activation && activation <= kTanh,
                  "activation must be 0 (none), 1 (relu), 2 (leaky_relu) or 3 (tanh), got ", activation);
  return convolve(input, weight, bias, std::nullopt, IntGeometry(stride, padding, dilation, groups), activation,
                  negative_slope);
}

Tensor masked_conv2d(const Tensor& input, const Tensor& weight, MaybeTensor bias, MaybeTensor mask, Ints stride,
                     Ints padding, Ints dilation, int64_t groups, double negative_slope) {
  return convolve(input, weight, bias, mask, IntGeometry(stride, padding, dilation, groups), kNone, negative_slope);
}

Tensor input_gradient(const Tensor& grad, const Tensor& weight, MaybeTensor mask, Ints input_size, Ints stride,
                      Ints padding, Ints dilation, int64_t groups, double negative_slope) {
  const IntGeometry geometry(stride, padding, dilation, groups);
  const Image source = image_of("grad", grad);
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions, got ", weight.dim());
  check_weight(weight, "the image", grad, weight.size(2) * groups, groups);
  STD_TORCH_CHECK(input_size.size() == 2, "input_size needs two values, got ", input_size.size());
  check_shape("grad", grad, {grad.size(0), weight.size(1), geometry.output_size(0, input_size[0], weight.size(3)),
                             geometry.output_size(1, input_size[1], weight.size(4))});
  check_mask(mask, grad);
  const Device device(grad);
  const Tensor output = new_image(grad, {grad.size(0), weight.size(2) * groups, input_size[0], input_size[1]});
  if (output.numel() == 0) return output;

  Correlation problem{};
  set_weight(problem, weight, 2, 1, groups);
  problem.samples_per_set = grad.size(0) / weight.size(0);
  problem.in_channels = whole(weight.size(1) / groups);
  problem.out_channels = whole(weight.size(2));
  problem.source = source;
  problem.source_mask = optional_image("mask", mask);
  problem.destination = image_of("output", output);
  problem.row = geometry.transposed(0, input_size[0], grad.size(2), weight.size(3));
  problem.column = geometry.transposed(1, input_size[1], grad.size(3), weight.size(4));
  problem.negative_slope = negative_slope;
  run(problem, device);
  return output;
}

// The weight gradient, and into `bias` the bias gradient where that is not null.
Tensor accumulate(const Tensor& grad, const Tensor& input, const MaybeTensor& mask, int64_t weight_sets,
                  const Ints& kernel_size, const IntGeometry& geometry, double negative_slope, Tensor* bias) {
  Accumulation problem{};
  problem.dtype = dtype_of(grad);
  problem.tf32 = tf32_is_allowed;
  problem.grad = image_of("grad", grad);
  problem.input = image_of("input", input);
  check_same_kind("input", input, "grad", grad);
  check_sets(weight_sets, grad.size(0));
  STD_TORCH_CHECK(kernel_size.size() == 2, "kernel_size needs two values, got ", kernel_size.size());
  const int64_t groups = geometry.groups, in_channels = input.size(1) / groups;
  STD_TORCH_CHECK(input.size(1) % groups == 0 && grad.size(1) % groups == 0, "the input has ", input.size(1),
                  " channels and grad ", grad.size(1), ": both must be multiples of ", groups, " groups");
  const int64_t height = geometry.output_size(0, input.size(2), kernel_size[0]);
  const int64_t width = geometry.output_size(1, input.size(3), kernel_size[1]);
  check_shape("grad", grad, {input.size(0), grad.size(1), height, width});
  check_mask(mask, grad);
  const Device device(grad);
  Tensor result = new_contiguous(grad, {weight_sets, grad.size(1), in_channels, kernel_size[0], kernel_size[1]});
  if (bias != nullptr) *bias = new_contiguous(grad, {weight_sets, grad.size(1)});
  if (grad.numel() == 0 || result.numel() == 0) {
    if (bias != nullptr) torch::stable::zero_(*bias);
    return torch::stable::zero_(result);
  }

  problem.mask = optional_image("mask", mask);
  problem.row = geometry.forward(0, height, input.size(2), kernel_size[0]);
  problem.column = geometry.forward(1, width, input.size(3), kernel_size[1]);
  problem.weight_gradient = result.mutable_data_ptr();
  problem.bias_gradient = bias == nullptr ? nullptr : bias->mutable_data_ptr();
  problem.sets = weight_sets;
  problem.samples_per_set = grad.size(0) / weight_sets;
  problem.groups = whole(groups);
  problem.in_channels = whole(in_channels);
  problem.out_channels = whole(grad.size(1) / groups);
  problem.negative_slope = negative_slope;
  whole(columns_of(problem));

  Parts parts{choose_parts(problem), result.numel(), bias == nullptr ? 0 : bias->numel(), nullptr,
              problem.weight_gradient, problem.bias_gradient};
  const MaybeTensor partial = partial_sums(parts, grad);
  if (!suits_tiles(problem) || !accumulate_tile(problem, parts, device.limits, device.stream)) {
    accumulate_gather(problem, parts, gathers_in_int(problem), device.stream);
  }
  sum_parts(problem.dtype, parts, device.stream);
  return result;
}

Tensor bias_gradient(const Tensor& grad, MaybeTensor mask, int64_t weight_sets, double negative_slope) {
  BiasSum problem{};
  problem.dtype = dtype_of(grad);
  problem.grad = image_of("grad", grad);
  check_sets(weight_sets, grad.size(0));
  check_mask(mask, grad);
  const Device device(grad);
  Tensor result = new_contiguous(grad, {weight_sets, grad.size(1)});
  if (grad.numel() == 0) return torch::stable::zero_(result);

  problem.mask = optional_image("mask", mask);
  problem.height = whole(grad.size(2));
  problem.width = whole(grad.size(3));
  problem.sets = weight_sets;
  problem.samples_per_set = grad.size(0) / weight_sets;
  problem.channels = whole(grad.size(1));
  problem.negative_slope = negative_slope;
  Parts parts{choose_parts(problem), 0, result.numel(), nullptr, nullptr, result.mutable_data_ptr()};
  const MaybeTensor partial = partial_sums(parts, grad);
  bias_sum(problem, parts, device.stream);
  sum_parts(problem.dtype, parts, device.stream);
  return result;
}

Tensor weight_gradient(const Tensor& grad, const Tensor& input, MaybeTensor mask, int64_t weight_sets, Ints kernel_size,
                       Ints stride, Ints padding, Ints dilation, int64_t groups, double negative_slope) {
  const IntGeometry geometry(stride, padding, dilation, groups);
  return accumulate(grad, input, mask, weight_sets, kernel_size, geometry, negative_slope, nullptr);
}

std::tuple<Tensor, Tensor> parameter_gradients(const Tensor& grad, const Tensor& input, MaybeTensor mask,
                                               int64_t weight_sets, Ints kernel_size, Ints stride, Ints padding,
                                               Ints dilation, int64_t groups, double negative_slope) {
  const IntGeometry geometry(stride, padding, dilation, groups);
  Tensor bias;
  const Tensor weight = accumulate(grad, input, mask, weight_sets, kernel_size, geometry, negative_slope, &bias);
  if (weight.numel() == 0) bias = bias_gradient(grad, mask, weight_sets, negative_slope);
  return {weight, bias};
}

}  // namespace
}  // namespace hyperconv

// Whether float32 products may be computed in TF32: torch's own switch, which a library of the stable ABI cannot
// read; hyperconv/ops/native.py passes it on.
extern "C" __attribute__((visibility("default"))) void hyperconv_cuda_allow_tf32(int allow) {
  hyperconv::tf32_is_allowed = allow != 0;
}

HYPERCONV_LIBRARY_IMPL(library) {
  library.impl("conv2d", TORCH_BOX(&hyperconv::conv2d));
  library.impl("masked_conv2d", TORCH_BOX(&hyperconv::masked_conv2d));
  library.impl("input_gradient", TORCH_BOX(&hyperconv::input_gradient));
  library.impl("weight_gradient", TORCH_BOX(&hyperconv::weight_gradient));
  library.impl("parameter_gradients", TORCH_BOX(&hyperconv::parameter_gradients));
  library.impl("bias_gradient", TORCH_BOX(&hyperconv::bias_gradient));
}

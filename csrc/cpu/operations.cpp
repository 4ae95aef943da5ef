#include "operations.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "arguments.h"
#include "geometry.h"
#include "run_correlation.h"
#include "scratch.h"

namespace hyperconv {
namespace {

Tensor convolve(const Tensor& input, const Tensor& weight, const MaybeTensor& bias,
                const MaybeTensor& mask, const Geometry& geometry, Activation activation, double slope) {
  Correlation work{};
  work.dtype = dtype_of(input);
  work.input = image_of("input", input);
  check_weight(weight, "input", input, input.size(1), geometry.groups);
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
  run_correlation(work, Product::convolution,
                  forward_taps(height, weight.size(3), geometry.stride[0], geometry.padding[0], geometry.dilation[0]),
                  forward_taps(width, weight.size(4), geometry.stride[1], geometry.padding[1], geometry.dilation[1]),
                  weight);
  return output;
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, const Ints& stride,
              const Ints& padding, const Ints& dilation, int64_t groups, int64_t activation, double negative_slope) {
  STD_TORCH_CHECK(activation >= 0 && activation <= 3, "activation must be 0 (none), 1 (relu), 2 (leaky_relu) or 3 "
                  "(tanh), got ", activation);
  return convolve(input, weight, bias, std::nullopt, Geometry(stride, padding, dilation, groups),
                  static_cast<Activation>(activation), negative_slope);
}

Tensor masked_conv2d(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, const MaybeTensor& mask,
                     const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups,
                     double negative_slope) {
  return convolve(input, weight, bias, mask, Geometry(stride, padding, dilation, groups), Activation::none,
                  negative_slope);
}

Tensor input_gradient(const Tensor& grad, const Tensor& weight, const MaybeTensor& mask, const Ints& input_size,
                      const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups,
                      double negative_slope) {
  const Geometry geometry(stride, padding, dilation, groups);
  Correlation work{};
  work.dtype = dtype_of(grad);
  work.input = image_of("grad", grad);
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions, got ", weight.dim());
  check_weight(weight, "grad", grad, weight.size(2) * groups, groups);
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

  const Trim trim;
  const Image whole = image_of("output", output);
  work.output = whole;
  const auto taps = [&](int axis) {
    return forward_taps(grad.size(2 + axis), weight.size(3 + axis), stride[axis], padding[axis], dilation[axis]);
  };
  if (run_scatter(work, taps(0), taps(1), weight)) return output;

  // A stride splits the input into phases, each met by some of the kernel entries; phases met by none stay zero.
  if (stride[0] > 1 || stride[1] > 1) zero(output);
  for (int64_t i = 0; i < std::min(stride[0], input_size[0]); ++i) {
    const AxisTaps rows = transposed_taps(input_size[0], i, weight.size(3), stride[0], padding[0], dilation[0]);
    if (rows.index.empty()) continue;
    for (int64_t j = 0; j < std::min(stride[1], input_size[1]); ++j) {
      const AxisTaps columns = transposed_taps(input_size[1], j, weight.size(4), stride[1], padding[1], dilation[1]);
      if (columns.index.empty()) continue;
      const int64_t first = i * whole.stride[2] + j * whole.stride[3];
      work.output = whole;
      work.output.data = static_cast<char*>(whole.data) + first * output.element_size();
      work.output.size[2] = rows.outputs;
      work.output.size[3] = columns.outputs;
      work.output.stride[2] *= stride[0];
      work.output.stride[3] *= stride[1];
      run_correlation(work, Product::input_gradient, rows, columns, weight);
    }
  }
  return output;
}

std::tuple<Tensor, Tensor, Tensor> gradients_at_once(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                     const MaybeTensor& mask, const Ints& stride, const Ints& padding,
                                                     const Ints& dilation, int64_t groups, double negative_slope) {
  image_of("input", input);
  const Tensor by_input = input_gradient(grad, weight, mask, {input.size(2), input.size(3)}, stride, padding, dilation,
                                         groups, negative_slope);  // checks the weight
  const auto [by_weight, by_bias] = parameter_gradients(grad, input, mask, weight.size(0),
                                                        {weight.size(3), weight.size(4)}, stride, padding, dilation,
                                                        groups, negative_slope);
  return {by_input, by_weight, by_bias};
}

}  // namespace hyperconv

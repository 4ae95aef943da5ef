// hyperconv_native::conv2d on CUDA: checks the arguments, allocates the output, launches the forward kernel.

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "forward.cuh"

namespace hyperconv {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Bias = std::optional<Tensor>;
using Pair = std::vector<int64_t>;  // along height and width

constexpr int64_t kLargestInt = std::numeric_limits<int>::max();
constexpr int64_t kLargestSide = kLargestInt / 4;  // so that no coordinate of a padded image overflows an int

// Whether these dimensions lie in memory without gaps, the last innermost; those of size 1 lie anywhere.
bool lies_in_order(const Tensor& tensor, const std::vector<int>& dimensions) {
  int64_t expected = 1;
  for (auto dimension = dimensions.rbegin(); dimension != dimensions.rend(); ++dimension) {
    if (tensor.size(*dimension) == 1) continue;
    if (tensor.stride(*dimension) != expected) return false;
    expected *= tensor.size(*dimension);
  }
  return true;
}

// The layout of the output: channels_last only where the input is that and not contiguous as well.
MemoryFormat output_format(const Tensor& input) {
  const bool channels_last = lies_in_order(input, {0, 2, 3, 1}) && !input.is_contiguous();
  return channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

void check_same_kind(const Tensor& input, const Tensor& other, const char* name) {
  STD_TORCH_CHECK(other.is_cuda() && other.get_device_index() == input.get_device_index(), name,
                  " must be on the device of input, cuda:", input.get_device_index());
  STD_TORCH_CHECK(other.scalar_type() == input.scalar_type(), name, " must have the dtype of input");
}

void check_tensors(const Tensor& input, const Tensor& weight, const Bias& bias, int64_t groups) {
  STD_TORCH_CHECK(input.dim() == 4, "input must have 4 dimensions (N, C_in, H, W), got ", input.dim());
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions (B, C_out, C_in/groups, kH, kW), got ",
                  weight.dim());
  const int64_t samples = input.size(0), sets = weight.size(0), outputs = weight.size(1);
  STD_TORCH_CHECK(sets == 0 ? samples == 0 : samples % sets == 0, "input has ", samples,
                  " samples, not a multiple of the ", sets, " weight sets");
  STD_TORCH_CHECK(groups > 0 && outputs % groups == 0, "weight has ", outputs,
                  " output channels, not a multiple of groups = ", groups);
  STD_TORCH_CHECK(input.size(1) == weight.size(2) * groups, "input has ", input.size(1),
                  " channels, and weight with groups = ", groups, " takes ", weight.size(2) * groups);
  check_same_kind(input, weight, "weight");
  if (!bias) return;
  STD_TORCH_CHECK(bias->dim() == 2 && bias->size(0) == sets && bias->size(1) == outputs,
                  "bias must have shape (", sets, ", ", outputs, ")");
  check_same_kind(input, *bias, "bias");
}

// Output pixels along one axis, 0 for height and 1 for width.
int64_t output_side(const Tensor& input, const Tensor& weight, int axis, const Pair& stride,
                    const Pair& padding, const Pair& dilation) {
  const int64_t side = input.size(2 + axis), kernel = weight.size(3 + axis);
  STD_TORCH_CHECK(kernel > 0 && stride.at(axis) > 0 && dilation.at(axis) > 0 && padding.at(axis) >= 0,
                  "kernel, stride and dilation must be positive and padding not negative, got ", kernel, ", ",
                  stride[axis], ", ", dilation[axis], " and ", padding[axis]);
  STD_TORCH_CHECK(std::max({side, kernel, stride[axis], dilation[axis], padding[axis]}) <= kLargestSide,
                  "input, kernel, stride, dilation and padding must not exceed ", kLargestSide);
  const int64_t left = side + 2 * padding[axis] - dilation[axis] * (kernel - 1) - 1;
  STD_TORCH_CHECK(left >= 0, "kernel of ", kernel, " with dilation ", dilation[axis],
                  " exceeds the input of ", side, " with padding ", padding[axis]);
  return left / stride[axis] + 1;
}

Geometry describe(const Tensor& input, const Tensor& weight, const Bias& bias, const Tensor& output,
                  const Pair& stride, const Pair& padding, const Pair& dilation, int64_t groups) {
  const auto whole = [](int64_t value) {
    STD_TORCH_CHECK(value <= kLargestInt - kDepth, "a size of ", value, " is not supported");
    return static_cast<int>(value);
  };
  Geometry geometry{};
  geometry.samples_per_set = input.size(0) / weight.size(0);
  geometry.output_pixels = output.size(2) * output.size(3);
  geometry.height = whole(input.size(2));
  geometry.width = whole(input.size(3));
  geometry.output_width = whole(output.size(3));
  geometry.stride_h = whole(stride[0]);
  geometry.stride_w = whole(stride[1]);
  geometry.padding_h = whole(padding[0]);
  geometry.padding_w = whole(padding[1]);
  geometry.dilation_h = whole(dilation[0]);
  geometry.dilation_w = whole(dilation[1]);
  geometry.groups = whole(groups);
  geometry.group_inputs = whole(weight.size(2));
  geometry.group_outputs = whole(weight.size(1) / groups);
  geometry.taps = whole(weight.size(2) * weight.size(3) * weight.size(4));
  geometry.kernel_area = Divisor(whole(weight.size(3) * weight.size(4)));
  geometry.kernel_width = Divisor(whole(weight.size(4)));
  std::copy_n(input.strides().data(), 4, geometry.input_strides);
  std::copy_n(output.strides().data(), 4, geometry.output_strides);
  if (bias) std::copy_n(bias->strides().data(), 2, geometry.bias_strides);
  geometry.weight_set_stride = weight.stride(0);
  return geometry;
}

cudaStream_t current_stream(int32_t device) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

template <typename T, typename Shape>
void launch_shape(const Tensor& input, const Tensor& weight, const Bias& bias, Tensor& output,
                  const Geometry& geometry) {
  const Tiling tiling(geometry, input.size(0), Shape::kChannels, Shape::kPixels);
  const auto blocks = static_cast<unsigned>(std::min(tiling.count, kLargestInt));
  forward<T, Shape><<<blocks, kThreads, 0, current_stream(input.get_device_index())>>>(
      static_cast<const T*>(input.const_data_ptr()), static_cast<const T*>(weight.const_data_ptr()),
      bias ? static_cast<const T*>(bias->const_data_ptr()) : nullptr,
      static_cast<T*>(output.mutable_data_ptr()), geometry, tiling);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T>
void launch(const Tensor& input, const Tensor& weight, const Bias& bias, Tensor& output,
            const Geometry& geometry) {
  if (geometry.group_outputs <= Thin::kChannels) {
    launch_shape<T, Thin>(input, weight, bias, output, geometry);
  } else if (geometry.group_outputs <= Medium::kChannels) {
    launch_shape<T, Medium>(input, weight, bias, output, geometry);
  } else {
    launch_shape<T, Wide>(input, weight, bias, output, geometry);
  }
}

Tensor conv2d(const Tensor& input, const Tensor& given_weight, const Bias& bias, const Pair& stride,
              const Pair& padding, const Pair& dilation, int64_t groups, int64_t activation,
              double negative_slope) {
  check_tensors(input, given_weight, bias, groups);
  STD_TORCH_CHECK(kNone <= activation && activation <= kTanh, "activation must be 0 to 3, got ", activation);
  const int64_t height = output_side(input, given_weight, 0, stride, padding, dilation);
  const int64_t width = output_side(input, given_weight, 1, stride, padding, dilation);
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  STD_CUDA_CHECK(cudaSetDevice(input.get_device_index()));  // this library has a CUDA runtime of its own

  const bool set_is_contiguous = lies_in_order(given_weight, {1, 2, 3, 4});
  const Tensor weight = set_is_contiguous ? given_weight : torch::stable::contiguous(given_weight);
  const std::vector<int64_t> shape{input.size(0), weight.size(1), height, width};
  Tensor output = torch::stable::empty(shape, input.scalar_type(), std::nullopt, input.device(), std::nullopt,
                                       output_format(input));
  if (output.numel() == 0) return output;
  Geometry geometry = describe(input, weight, bias, output, stride, padding, dilation, groups);
  geometry.activation = static_cast<int>(activation);
  geometry.negative_slope = negative_slope;
  switch (input.scalar_type()) {
    case ScalarType::Float: launch<float>(input, weight, bias, output, geometry); break;
    case ScalarType::Double: launch<double>(input, weight, bias, output, geometry); break;
    case ScalarType::BFloat16: launch<__nv_bfloat16>(input, weight, bias, output, geometry); break;
    case ScalarType::Half: launch<__half>(input, weight, bias, output, geometry); break;
    default: STD_TORCH_CHECK(false, "input must be float32, float64, bfloat16 or float16");
  }
  return output;
}

}  // namespace
}  // namespace hyperconv

STABLE_TORCH_LIBRARY_IMPL(hyperconv_native, CUDA, m) { m.impl("conv2d", TORCH_BOX(&hyperconv::conv2d)); }

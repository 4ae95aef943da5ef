// Tensors to the plain data of the kernels: arguments checked, outputs allocated.

#pragma once

#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "current_device.h"
#include "problem.h"

namespace hyperconv {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;
using Ints = std::vector<int64_t>;

constexpr int64_t kLargestSide = kLargestInt / 4;  // so that no coordinate of a padded image overflows an int

inline std::string text(const Ints& shape) {
  std::string result = "(";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + ")";
}

inline Ints shape_of(const Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

inline int whole(int64_t value) {
  STD_TORCH_CHECK(value <= kLargestSide, "a size of ", value, " is not supported");
  return static_cast<int>(value);
}

inline Dtype dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float: return Dtype::float32;
    case ScalarType::Double: return Dtype::float64;
    case ScalarType::BFloat16: return Dtype::bfloat16;
    case ScalarType::Half: return Dtype::float16;
    default: break;
  }
  STD_TORCH_CHECK(false, "expected float32, float64, bfloat16 or float16, got ",
                  torch::headeronly::toString(tensor.scalar_type()));
}

// Whether these dimensions lie in memory without gaps, the last innermost; those of size 1 lie anywhere.
inline bool lies_in_order(const Tensor& tensor, const std::vector<int>& dimensions) {
  int64_t expected = 1;
  for (auto dimension = dimensions.rbegin(); dimension != dimensions.rend(); ++dimension) {
    if (tensor.size(*dimension) == 1) continue;
    if (tensor.stride(*dimension) != expected) return false;
    expected *= tensor.size(*dimension);
  }
  return true;
}

inline Tensor new_tensor(const Tensor& like, const Ints& shape, ScalarType dtype, MemoryFormat format) {
  return torch::stable::empty(shape, dtype, std::nullopt, like.device(), std::nullopt, format);
}

// channels_last only where `like` is that and not contiguous as well.
inline Tensor new_image(const Tensor& like, const Ints& shape) {
  const bool channels_last = like.numel() > 0 && lies_in_order(like, {0, 2, 3, 1}) && !like.is_contiguous();
  const MemoryFormat format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  return new_tensor(like, shape, like.scalar_type(), format);
}

inline Tensor new_contiguous(const Tensor& like, const Ints& shape) {
  return new_tensor(like, shape, like.scalar_type(), MemoryFormat::Contiguous);
}

inline Image image_of(const char* name, const Tensor& tensor) {
  STD_TORCH_CHECK(tensor.dim() == 4, name, " must have 4 dimensions (N, C, H, W), got shape ", text(shape_of(tensor)));
  Image image{const_cast<void*>(tensor.const_data_ptr()), {}};
  for (int i = 0; i < 4; ++i) image.stride[i] = tensor.size(i) == 1 ? 0 : tensor.stride(i);
  return image;
}

inline Image optional_image(const char* name, const Optional& tensor) {
  return tensor ? image_of(name, *tensor) : Image{};
}

inline void check_same_kind(const char* name, const Tensor& tensor, const char* other, const Tensor& reference) {
  STD_TORCH_CHECK(is_on_device(tensor) && is_on_device(reference), name, " and ", other, " must both be on a GPU");
  STD_TORCH_CHECK(tensor.get_device_index() == reference.get_device_index(), name, " is on cuda:",
                  tensor.get_device_index(), " and ", other, " on cuda:", reference.get_device_index());
  STD_TORCH_CHECK(tensor.scalar_type() == reference.scalar_type(), name, " is ",
                  torch::headeronly::toString(tensor.scalar_type()), " and ", other, " is ",
                  torch::headeronly::toString(reference.scalar_type()), ": they must have the same dtype");
}

inline void check_shape(const char* name, const Tensor& tensor, const Ints& shape) {
  STD_TORCH_CHECK(shape_of(tensor) == shape, name, " must have shape ", text(shape), ", got ", text(shape_of(tensor)));
}

inline void check_sets(int64_t sets, int64_t samples) {
  STD_TORCH_CHECK(sets > 0 ? samples % sets == 0 : samples == 0, samples, " samples cannot share ", sets,
                  " weight sets: the batch must be a multiple of the sets");
}

inline void check_mask(const Optional& mask, const Tensor& grad) {
  if (!mask) return;
  check_same_kind("mask", *mask, "grad", grad);
  check_shape("mask", *mask, shape_of(grad));
}

inline void check_weight(const Tensor& weight, const Tensor& image, int64_t channels, int64_t groups) {
  check_same_kind("weight", weight, "the image", image);
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions (B, C_out, C_in/groups, kH, kW), got shape ",
                  text(shape_of(weight)));
  check_sets(weight.size(0), image.size(0));
  STD_TORCH_CHECK(channels == weight.size(2) * groups, "the input has ", channels, " channels and the weight ",
                  weight.size(2), " per group in ", groups, " groups");
  STD_TORCH_CHECK(weight.size(1) % groups == 0, "the weight has ", weight.size(1),
                  " output channels, not a multiple of ", groups, " groups");
}

inline void check_bias(const Optional& bias, const Tensor& weight) {
  if (!bias) return;
  check_same_kind("bias", *bias, "weight", weight);
  check_shape("bias", *bias, {weight.size(0), weight.size(1)});
}

// The arguments that all convolutions share.
struct Geometry {
  const Ints &stride, &padding, &dilation;
  int64_t groups;

  Geometry(const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups)
      : stride(stride), padding(padding), dilation(dilation), groups(groups) {
    STD_TORCH_CHECK(stride.size() == 2 && padding.size() == 2 && dilation.size() == 2,
                    "stride, padding and dilation need two values each, got ", text(stride), ", ", text(padding),
                    " and ", text(dilation));
    const auto least = [](const Ints& pair) { return std::min(pair[0], pair[1]); };
    STD_TORCH_CHECK(least(stride) > 0, "stride must be positive, got ", text(stride));
    STD_TORCH_CHECK(least(padding) >= 0, "padding must not be negative, got ", text(padding));
    STD_TORCH_CHECK(least(dilation) > 0, "dilation must be positive, got ", text(dilation));
    STD_TORCH_CHECK(groups > 0, "groups must be positive, got ", groups);
    for (const Ints* pair : {&stride, &padding, &dilation}) whole(std::max((*pair)[0], (*pair)[1]));
  }

  int64_t output_size(int axis, int64_t input, int64_t kernel) const {
    STD_TORCH_CHECK(kernel > 0, "kernel sizes must be positive, got ", kernel);
    const int64_t padded = whole(input) + 2 * padding[axis], extent = dilation[axis] * (whole(kernel) - 1) + 1;
    STD_TORCH_CHECK(padded >= extent, "the kernel covers ", extent, " pixels and the padded input has ", padded, " (",
                    axis == 0 ? "height)" : "width)");
    return (padded - extent) / stride[axis] + 1;
  }

  Axis forward(int axis, int64_t output, int64_t input, int64_t kernel) const {
    return forward_axis(whole(output), whole(input), whole(kernel), whole(stride[axis]), whole(padding[axis]),
                        whole(dilation[axis]));
  }

  Axis transposed(int axis, int64_t input, int64_t output, int64_t kernel) const {
    return transposed_axis(whole(input), whole(output), whole(kernel), whole(stride[axis]), whole(padding[axis]),
                           whole(dilation[axis]));
  }
};

}  // namespace hyperconv

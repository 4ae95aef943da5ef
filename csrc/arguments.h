// The checks of arguments that all devices share; each raises one line that names the arguments and the numbers.
//
// A shape is a view of numbers that outlive the call: the smallest layers compute faster than memory is allocated.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dtype.h"

namespace hyperconv {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;
using Ints = std::vector<int64_t>;
using Shape = torch::headeronly::IntHeaderOnlyArrayRef;

inline std::string text(Shape shape) {
  std::string result = "(";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + ")";
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

// Whether an image lies channels_last, and not contiguous as well: then its sizes of 1 leave that open.
inline bool is_channels_last(const Tensor& image) {
  if (image.numel() == 0 || image.is_contiguous()) return false;
  int64_t expected = 1;
  for (const int dimension : {1, 3, 2, 0}) {
    const int64_t size = image.size(dimension);
    if (size != 1 && image.stride(dimension) != expected) return false;
    expected *= size;
  }
  return true;
}

// Defined by each device for itself.
void check_same_device(const char* name, const Tensor& tensor, const char* other, const Tensor& reference);

inline void check_same_kind(const char* name, const Tensor& tensor, const char* other, const Tensor& reference) {
  check_same_device(name, tensor, other, reference);
  STD_TORCH_CHECK(tensor.scalar_type() == reference.scalar_type(), name, " is ",
                  torch::headeronly::toString(tensor.scalar_type()), " and ", other, " is ",
                  torch::headeronly::toString(reference.scalar_type()), ": they must have the same dtype");
}

inline void check_shape(const char* name, const Tensor& tensor, Shape shape) {
  STD_TORCH_CHECK(tensor.sizes() == shape, name, " must have shape ", text(shape), ", got ", text(tensor.sizes()));
}

inline void check_sets(int64_t sets, int64_t samples) {
  STD_TORCH_CHECK(sets > 0 ? samples % sets == 0 : samples == 0, samples, " samples cannot share ", sets,
                  " weight sets: the batch must be a multiple of the sets");
}

inline void check_weight(const Tensor& weight, const char* name, const Tensor& image, int64_t channels,
                         int64_t groups) {
  check_same_kind("weight", weight, name, image);
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions (B, C_out, C_in/groups, kH, kW), got shape ",
                  text(weight.sizes()));
  check_sets(weight.size(0), image.size(0));
  STD_TORCH_CHECK(channels == weight.size(2) * groups, "the input has ", channels, " channels and the weight ",
                  weight.size(2), " per group in ", groups, " groups");
  STD_TORCH_CHECK(weight.size(1) % groups == 0, "the weight has ", weight.size(1),
                  " output channels, not a multiple of ", groups, " groups");
}

inline void check_bias(const MaybeTensor& bias, const Tensor& weight) {
  if (!bias) return;
  check_same_kind("bias", *bias, "weight", weight);
  check_shape("bias", *bias, {weight.size(0), weight.size(1)});
}

inline void check_mask(const MaybeTensor& mask, const Tensor& grad) {
  if (!mask) return;
  check_same_kind("mask", *mask, "grad", grad);
  check_shape("mask", *mask, grad.sizes());
}

// Stride, padding, dilation and groups; the output's size follows from the input's and the kernel's.
struct Geometry {
  Shape stride, padding, dilation;
  int64_t groups;

  Geometry(Shape stride, Shape padding, Shape dilation, int64_t groups)
      : stride(stride), padding(padding), dilation(dilation), groups(groups) {
    check_pair("stride", stride, 1, "be positive");
    check_pair("padding", padding, 0, "not be negative");
    check_pair("dilation", dilation, 1, "be positive");
    STD_TORCH_CHECK(groups > 0, "groups must be positive, got ", groups);
  }

  // Along axis 0 (rows) or 1 (columns).
  int64_t output_size(int axis, int64_t input, int64_t kernel) const {
    STD_TORCH_CHECK(kernel > 0, "kernel sizes must be positive, got ", kernel);
    const int64_t padded = input + 2 * padding[axis], extent = dilation[axis] * (kernel - 1) + 1;
    STD_TORCH_CHECK(padded >= extent, "the kernel covers ", extent, " pixels and the padded input has ", padded, " (",
                    axis == 0 ? "height)" : "width)");
    return (padded - extent) / stride[axis] + 1;
  }

 private:
  static void check_pair(const char* name, Shape pair, int64_t least, const char* demand) {
    STD_TORCH_CHECK(pair.size() == 2, name, " needs two values, got ", text(pair));
    STD_TORCH_CHECK(std::min(pair[0], pair[1]) >= least, name, " must ", demand, ", got ", text(pair));
  }
};

}  // namespace hyperconv

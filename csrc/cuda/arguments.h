// Tensors to the plain data of the kernels: arguments checked, outputs allocated.

#pragma once

#include <torch/csrc/stable/ops.h>

#include "../arguments.h"
#include "current_device.h"
#include "problem.h"

namespace hyperconv {

using torch::headeronly::MemoryFormat;

constexpr int64_t kLargestSide = kLargestInt / 4;  // so that no coordinate of a padded image overflows an int

inline int whole(int64_t value) {
  STD_TORCH_CHECK(value <= kLargestSide, "a size of ", value, " is not supported");
  return static_cast<int>(value);
}

inline Tensor new_tensor(const Tensor& like, Shape shape, ScalarType dtype, MemoryFormat format) {
  return torch::stable::empty(shape, dtype, std::nullopt, like.device(), std::nullopt, format);
}

// channels_last only where `like` is unambiguously so.
inline Tensor new_image(const Tensor& like, Shape shape) {
  const MemoryFormat format = is_channels_last(like) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  return new_tensor(like, shape, like.scalar_type(), format);
}

inline Tensor new_contiguous(const Tensor& like, Shape shape) {
  return new_tensor(like, shape, like.scalar_type(), MemoryFormat::Contiguous);
}

inline Image image_of(const char* name, const Tensor& tensor) {
  STD_TORCH_CHECK(tensor.dim() == 4, name, " must have 4 dimensions (N, C, H, W), got shape ", text(tensor.sizes()));
  Image image{const_cast<void*>(tensor.const_data_ptr()), {}};
  for (int i = 0; i < 4; ++i) image.stride[i] = tensor.size(i) == 1 ? 0 : tensor.stride(i);
  return image;
}

inline Image optional_image(const char* name, const MaybeTensor& tensor) {
  return tensor ? image_of(name, *tensor) : Image{};
}

inline void check_same_device(const char* name, const Tensor& tensor, const char* other, const Tensor& reference) {
  STD_TORCH_CHECK(is_on_device(tensor) && is_on_device(reference), name, " and ", other, " must both be on a GPU");
  STD_TORCH_CHECK(tensor.get_device_index() == reference.get_device_index(), name, " is on cuda:",
                  tensor.get_device_index(), " and ", other, " on cuda:", reference.get_device_index());
}

// In the kernels' ints; what is too large for them is refused before anything is allocated.
struct IntGeometry : Geometry {
  IntGeometry(Shape stride, Shape padding, Shape dilation, int64_t groups)
      : Geometry(stride, padding, dilation, groups) {
    for (const Shape pair : {stride, padding, dilation}) whole(std::max(pair[0], pair[1]));
  }

  int64_t output_size(int axis, int64_t input, int64_t kernel) const {
    return Geometry::output_size(axis, whole(input), whole(kernel));
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

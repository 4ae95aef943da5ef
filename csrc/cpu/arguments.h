// Tensors as the kernels see them, and the checks that keep a kernel from reading outside of one.
#pragma once

#include <array>

#include "interface.h"
#include "operations.h"

namespace hyperconv {

using Shape = torch::headeronly::IntHeaderOnlyArrayRef;

// Stride, padding, dilation and groups; `output` follows from the input and the kernel.
struct Geometry {
  Geometry(const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups);
  // Output size along axis 0 (rows) or 1 (columns); an error when the kernel is larger than the padded input.
  int64_t output_size(int axis, int64_t input, int64_t kernel) const;

  std::array<int64_t, 2> stride, padding, dilation;
  int64_t groups;
};

Dtype dtype_of(const Tensor& tensor);
int64_t sum_bytes(Dtype dtype);  // of one element of the type that sums are kept in
Image image_of(const char* name, const Tensor& tensor);
Image optional_image(const char* name, const MaybeTensor& tensor);  // absent: data == nullptr

// All of these raise one line that names the arguments and the numbers.
void check_same_dtype(const char* name, const Tensor& tensor, const char* other, const Tensor& reference);
void check_shape(const char* name, const Tensor& tensor, Shape shape);
void check_weight(const Tensor& weight, int64_t samples, int64_t in_channels, int64_t groups);
void check_sets(int64_t sets, int64_t samples);
void check_bias(const MaybeTensor& bias, const Tensor& weight);
void check_mask(const MaybeTensor& mask, const Tensor& grad);

// A new tensor of the dtype of `like`; (N, C, H, W) is channels_last where `like` is unambiguously so.
Tensor new_image(const Tensor& like, Shape shape);
Tensor new_contiguous(const Tensor& like, Shape shape);
void zero(const Tensor& tensor);  // dense, all of it

}  // namespace hyperconv

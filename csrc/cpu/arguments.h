// Tensors as the kernels see them, and new ones.
#pragma once

#include "../arguments.h"
#include "interface.h"

namespace hyperconv {

int64_t sum_bytes(Dtype dtype);  // of one element of the type that sums are kept in
Image image_of(const char* name, const Tensor& tensor);
Image optional_image(const char* name, const MaybeTensor& tensor);  // absent: data == nullptr

// A new tensor of the dtype of `like`; (N, C, H, W) is channels_last where `like` is unambiguously so.
Tensor new_image(const Tensor& like, Shape shape);
Tensor new_contiguous(const Tensor& like, Shape shape);
void zero(const Tensor& tensor);  // dense, all of it

}  // namespace hyperconv

#include "arguments.h"

#include <algorithm>
#include <array>
#include <cstring>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hyperconv {
namespace {

// Beyond this size the C library, unless told otherwise (hyperconv/heap.py), maps fresh pages for every tensor, and
// touching them one small page at a time takes longer than a thin layer takes to compute: ask for huge ones.
constexpr size_t fresh_bytes = size_t(32) << 20;

void ask_for_huge_pages([[maybe_unused]] const Tensor& tensor, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes < fresh_bytes) return;
  const uintptr_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(tensor.data_ptr()) + page - 1) / page * page;
  madvise(reinterpret_cast<void*>(begin), bytes - page, MADV_HUGEPAGE);  // only advice: a refusal changes nothing
#endif
}

// Uninitialised, with these strides. Through the shim itself: `torch::stable::empty` looks its operator up by name at
// every call, which takes longer than the smallest layers compute.
Tensor new_tensor(const Tensor& like, Shape shape, Shape strides) {
  int32_t dtype;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(shape.size(), shape.data(), strides.data(), dtype,
                                                  aoti_torch_device_type_cpu(), 0, &handle));
  const Tensor tensor(handle);
  ask_for_huge_pages(tensor, tensor.numel() * tensor.element_size());
  return tensor;
}

}  // namespace

int64_t sum_bytes(Dtype dtype) { return dtype == Dtype::float64 ? 8 : 4; }

Image image_of(const char* name, const Tensor& tensor) {
  STD_TORCH_CHECK(tensor.dim() == 4, name, " must have 4 dimensions (N, C, H, W), got shape ", text(tensor.sizes()));
  Image image{tensor.data_ptr(), {}, {}};
  for (int i = 0; i < 4; ++i) {
    image.size[i] = tensor.size(i);
    image.stride[i] = tensor.stride(i);
  }
  return image;
}

Image optional_image(const char* name, const MaybeTensor& tensor) {
  return tensor ? image_of(name, *tensor) : Image{};
}

void check_same_device(const char* name, const Tensor& tensor, const char* other, const Tensor&) {
  STD_TORCH_CHECK(tensor.is_cpu(), name, " must be on the CPU like ", other);
}

Tensor new_image(const Tensor& like, Shape shape) {
  if (!is_channels_last(like)) return new_contiguous(like, shape);
  const int64_t row = shape[3] * shape[1];
  return new_tensor(like, shape, {shape[2] * row, 1, row, shape[1]});
}

Tensor new_contiguous(const Tensor& like, Shape shape) {
  std::array<int64_t, 5> strides;
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= std::max<int64_t>(shape[i], 1)) strides[i] = stride;
  return new_tensor(like, shape, {strides.data(), shape.size()});
}

void zero(const Tensor& tensor) {
  if (tensor.numel() > 0) std::memset(tensor.data_ptr(), 0, tensor.numel() * tensor.element_size());
}

}  // namespace hyperconv

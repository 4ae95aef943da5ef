#include "arguments.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hyperconv {
namespace {

using torch::headeronly::ScalarType;

std::string text(Shape shape) {
  std::string result = "(";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + ")";
}

std::array<int64_t, 2> pair(const char* name, const Ints& values) {
  STD_TORCH_CHECK(values.size() == 2, name, " needs two values, got ", text(values));
  return {values[0], values[1]};
}

// Whether the dimensions, taken in this order, lie densely from the first (outermost) to the last.
bool dense_in_order(const Tensor& tensor, const int (&order)[4]) {
  int64_t expected = 1;
  for (int i = 3; i >= 0; --i) {
    const int64_t size = tensor.size(order[i]);
    if (size != 1 && tensor.stride(order[i]) != expected) return false;
    expected *= size;
  }
  return true;
}

bool is_channels_last(const Tensor& tensor) {
  return tensor.dim() == 4 && tensor.numel() > 0 && dense_in_order(tensor, {0, 2, 3, 1}) &&
         !dense_in_order(tensor, {0, 1, 2, 3});
}

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

Geometry::Geometry(const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups)
    : stride(pair("stride", stride)),
      padding(pair("padding", padding)),
      dilation(pair("dilation", dilation)),
      groups(groups) {
  STD_TORCH_CHECK(stride[0] > 0 && stride[1] > 0, "stride must be positive, got ", text(stride));
  STD_TORCH_CHECK(padding[0] >= 0 && padding[1] >= 0, "padding must not be negative, got ", text(padding));
  STD_TORCH_CHECK(dilation[0] > 0 && dilation[1] > 0, "dilation must be positive, got ", text(dilation));
  STD_TORCH_CHECK(groups > 0, "groups must be positive, got ", groups);
}

int64_t Geometry::output_size(int axis, int64_t input, int64_t kernel) const {
  STD_TORCH_CHECK(kernel > 0, "kernel sizes must be positive, got ", kernel);
  const int64_t padded = input + 2 * padding[axis], extent = dilation[axis] * (kernel - 1) + 1;
  STD_TORCH_CHECK(padded >= extent, "the kernel covers ", extent, " pixels and the padded input has ", padded, " (",
                  axis == 0 ? "height)" : "width)");
  return (padded - extent) / stride[axis] + 1;
}

Dtype dtype_of(const Tensor& tensor) {
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

void check_same_dtype(const char* name, const Tensor& tensor, const char* other, const Tensor& reference) {
  STD_TORCH_CHECK(tensor.is_cpu(), name, " must be on the CPU like ", other);
  STD_TORCH_CHECK(tensor.scalar_type() == reference.scalar_type(), name, " is ",
                  torch::headeronly::toString(tensor.scalar_type()), " and ", other, " is ",
                  torch::headeronly::toString(reference.scalar_type()), ": they must have the same dtype");
}

void check_shape(const char* name, const Tensor& tensor, Shape shape) {
  STD_TORCH_CHECK(tensor.sizes() == shape, name, " must have shape ", text(shape), ", got ", text(tensor.sizes()));
}

void check_weight(const Tensor& weight, int64_t samples, int64_t in_channels, int64_t groups) {
  STD_TORCH_CHECK(weight.dim() == 5, "weight must have 5 dimensions (B, C_out, C_in/groups, kH, kW), got shape ",
                  text(weight.sizes()));
  check_sets(weight.size(0), samples);
  STD_TORCH_CHECK(in_channels == weight.size(2) * groups, "the input has ", in_channels, " channels and the weight ",
                  weight.size(2), " per group in ", groups, " groups");
  STD_TORCH_CHECK(weight.size(1) % groups == 0, "the weight has ", weight.size(1),
                  " output channels, not a multiple of ", groups, " groups");
}

void check_sets(int64_t sets, int64_t samples) {
  STD_TORCH_CHECK(sets > 0 ? samples % sets == 0 : samples == 0, samples, " samples cannot share ", sets,
                  " weight sets: the batch must be a multiple of the sets");
}

void check_bias(const MaybeTensor& bias, const Tensor& weight) {
  if (!bias) return;
  check_same_dtype("bias", *bias, "weight", weight);
  check_shape("bias", *bias, {weight.size(0), weight.size(1)});
}

void check_mask(const MaybeTensor& mask, const Tensor& grad) {
  if (!mask) return;
  check_same_dtype("mask", *mask, "grad", grad);
  check_shape("mask", *mask, grad.sizes());
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

// The device of a call: its stream and its limits. Without nvcc, the CPU in its place: the host layer of the tests
// runs the operators of operations.cu on CPU tensors.

#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "forced.h"
#include "launch.h"
#include "problem.h"

namespace hyperconv {

#ifdef __CUDACC__

#define HYPERCONV_LIBRARY_IMPL(library) STABLE_TORCH_LIBRARY_IMPL(hyperconv_native, CUDA, library)

inline bool is_on_device(const torch::stable::Tensor& tensor) { return tensor.is_cuda(); }

struct Device {
  torch::stable::accelerator::DeviceGuard guard;
  Stream stream = nullptr;
  Limits limits{};

  explicit Device(const torch::stable::Tensor& tensor) : guard(tensor.get_device_index()) {
    const int index = tensor.get_device_index();
    STD_CUDA_CHECK(cudaSetDevice(index));  // this library has a CUDA runtime of its own
    void* current = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index, &current));
    stream = static_cast<Stream>(current);
    STD_CUDA_CHECK(cudaDeviceGetAttribute(&limits.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
    STD_CUDA_CHECK(cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount, index));
  }
};

#else

#define HYPERCONV_LIBRARY_IMPL(library) STABLE_TORCH_LIBRARY_IMPL(hyperconv_host, CPU, library)

inline bool is_on_device(const torch::stable::Tensor& tensor) { return tensor.is_cpu(); }

struct Device {
  Stream stream = nullptr;
  Limits limits{forced.shared_limit > 0 ? forced.shared_limit : 227 * 1024, 132};

  explicit Device(const torch::stable::Tensor&) {}
};

#endif

}  // namespace hyperconv

// Launches a kernel; an error of CUDA is thrown as PyTorch words it. The host layer of the tests runs the grid
// in the call.

#pragma once

#include <cstddef>

#include "device.h"

#ifdef __CUDACC__
#include <torch/csrc/stable/macros.h>
#endif

namespace hyperconv {

using Stream = cudaStream_t;

#ifdef __CUDACC__

constexpr std::size_t kSharedBytesWithoutAsking = 48 * 1024;

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream, A... args) {
  if (shared_bytes > kSharedBytesWithoutAsking) {
    STD_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared_bytes)));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  STD_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...));
}

#else

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, Stream, A... args) {
  cuda_host::run_grid(grid, block, shared_bytes, [=] { kernel(static_cast<P>(args)...); });
}

#endif

}  // namespace hyperconv

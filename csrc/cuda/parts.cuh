// Sums over pixels in two steps of a fixed order: each part of the pixels into memory of its own, then the parts
// one after another. How many parts there are depends on the problem alone, so every run gives the same bits.

#pragma once

#include "numeric.cuh"

namespace hyperconv {

// One part goes straight to the result; several go to `partial`, [part][weight gradient, then bias gradient].
struct Parts {
  int count;
  int64_t values, bias_values;  // of one part
  void* partial;                // of the type of sums, count * (values + bias_values) of them
  void *result, *bias_result;

  template <typename T>
  __device__ __forceinline__ void store(int part, int64_t index, sum_t<T> value) const {
    if (count == 1) {
      static_cast<T*>(result)[index] = static_cast<T>(value);
    } else {
      static_cast<sum_t<T>*>(partial)[part * (values + bias_values) + index] = value;
    }
  }

  template <typename T>
  __device__ __forceinline__ void store_bias(int part, int64_t index, sum_t<T> value) const {
    if (count == 1) {
      static_cast<T*>(bias_result)[index] = static_cast<T>(value);
    } else {
      store<T>(part, values + index, value);
    }
  }
};

constexpr int kSumThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kSumThreads) sum_parts_kernel(const __grid_constant__ Parts parts) {
  using S = sum_t<T>;
  const int64_t values = parts.values + parts.bias_values, stride = static_cast<int64_t>(gridDim.x) * kSumThreads;
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x; index < values; index += stride) {
    const S* partial = static_cast<const S*>(parts.partial) + index;
    S sum = S(0);
#pragma unroll 4
    for (int part = 0; part < parts.count; ++part) sum += partial[part * values];
    if (index < parts.values) {
      static_cast<T*>(parts.result)[index] = static_cast<T>(sum);
    } else {
      static_cast<T*>(parts.bias_result)[index - parts.values] = static_cast<T>(sum);
    }
  }
}

template <typename T>
void launch_sum_parts(const Parts& parts, Stream stream) {
  if (parts.count == 1) return;
  const int64_t blocks = divide_up(parts.values + parts.bias_values, kSumThreads);
  const auto grid = static_cast<unsigned>(blocks < 65536 ? blocks : 65536);
  launch(sum_parts_kernel<T>, dim3(grid), dim3(kSumThreads), 0, stream, parts);
}

}  // namespace hyperconv

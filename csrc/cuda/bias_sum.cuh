// The bias gradient alone: sums over pixels, a block for each part of the pixels of a channel.

#pragma once

#include "parts.cuh"

namespace hyperconv {

template <typename T>
__global__ void __launch_bounds__(kSumThreads)
    bias_sum_kernel(const __grid_constant__ BiasSum problem, const __grid_constant__ Parts parts) {
  using S = sum_t<T>;
  struct Sums {
    S of[kSumThreads];
  };
  auto& sums = shared_object<Sums>();
  const int64_t area = static_cast<int64_t>(problem.height) * problem.width, pixels = area * problem.samples_per_set;
  const int64_t per_part = divide_up(pixels, parts.count), blocks = problem.sets * problem.channels * parts.count;
  const S slope = static_cast<S>(problem.negative_slope);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const int part = static_cast<int>(block % parts.count);
    const int64_t value = block / parts.count, channel = value % problem.channels, set = value / problem.channels;
    const int64_t end = (part + 1) * per_part < pixels ? (part + 1) * per_part : pixels;
    S sum = S(0);
    for (int64_t pixel = part * per_part + threadIdx.x; pixel < end; pixel += kSumThreads) {
      const int64_t shared = pixel / area, rest = pixel - shared * area;
      const int64_t y = rest / problem.width, x = rest - y * problem.width;
      const auto at = [&](const Image& image) {
        return static_cast<const T*>(image.data)[(set * problem.samples_per_set + shared) * image.stride[0] +
                                                 channel * image.stride[1] + y * image.stride[2] +
                                                 x * image.stride[3]];
      };
      const S grad = static_cast<S>(at(problem.grad));
      sum += problem.mask.data == nullptr ? grad : apply_mask(grad, at(problem.mask), slope);
    }
    sums.of[threadIdx.x] = sum;
    for (int width = kSumThreads / 2; width > 0; width /= 2) {
      __syncthreads();
      if (static_cast<int>(threadIdx.x) < width) sums.of[threadIdx.x] += sums.of[threadIdx.x + width];
    }
    if (threadIdx.x == 0) parts.store_bias<T>(part, value, sums.of[0]);
    __syncthreads();
  }
}

template <typename T>
void launch_bias_sum(const BiasSum& problem, const Parts& parts, Stream stream) {
  const int64_t blocks = problem.sets * problem.channels * parts.count;
  const auto grid = static_cast<unsigned>(blocks < kLargestInt ? blocks : kLargestInt);
  launch(bias_sum_kernel<T>, dim3(grid), dim3(kSumThreads), 0, stream, problem, parts);
}

}  // namespace hyperconv

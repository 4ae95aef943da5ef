// The forward kernel: activation(convolution + bias), a weight set per sample, as an implicit matrix product.
//
// In one group of one sample, output = weight x patches: the weight is (C_out, taps), and the patches
// (taps, pixels) are gathered from the input on the way to shared memory, kDepth taps at a time. Sums are
// float, or double for double.

#pragma once

#include <cmath>

#include "device.h"
#include "geometry.h"

namespace hyperconv {

constexpr int kThreads = 256;
constexpr int kDepth = 16;

// A block computes kChannels x kPixels output values, each thread kThreadChannels x kThreadPixels of them.
template <int Channels, int Pixels, int ThreadChannels, int ThreadPixels>
struct BlockShape {
  static constexpr int kChannels = Channels, kPixels = Pixels;
  static constexpr int kThreadChannels = ThreadChannels, kThreadPixels = ThreadPixels;
  static constexpr int kColumns = Pixels / ThreadPixels;
  static_assert(kColumns * (Channels / ThreadChannels) == kThreads, "a block has kThreads threads");
  static_assert(kThreads % Pixels == 0, "a thread gathers one pixel's taps");
};
using Wide = BlockShape<64, 128, 8, 4>;
using Medium = BlockShape<32, 128, 4, 4>;
using Thin = BlockShape<4, 256, 4, 1>;

template <typename T>
struct Sum {
  using type = float;
};
template <>
struct Sum<double> {
  using type = double;
};

template <typename T>
using sum_t = typename Sum<T>::type;

// PyTorch's own definitions: NaN passes every one of them.
template <typename S>
__device__ __forceinline__ S activate(S value, const Geometry& geometry) {
  switch (geometry.activation) {
    case kRelu: return value < S(0) ? S(0) : value;
    case kLeakyRelu: return value > S(0) ? value : static_cast<S>(geometry.negative_slope) * value;
    case kTanh: return tanh(value);
    default: return value;
  }
}

// Shared memory of a block; the padding spares the transposed store of the weights most bank conflicts.
template <typename S, typename Shape>
struct Stage {
  alignas(16) S weights[kDepth][Shape::kChannels + 4];
  alignas(16) S patches[kDepth][Shape::kPixels];
};

// Copies taps [first_tap, first_tap + kDepth) of the tile's output channels; zero beyond either end.
template <typename T, typename Shape>
__device__ __forceinline__ void stage_weights(Stage<sum_t<T>, Shape>& stage, const T* __restrict__ weight,
                                              const Tile& tile, int first_tap, const Geometry& geometry) {
  using S = sum_t<T>;
  const int depth = threadIdx.x % kDepth;
  const int tap = first_tap + depth;
#pragma unroll
  for (int channel = threadIdx.x / kDepth; channel < Shape::kChannels; channel += kThreads / kDepth) {
    const int output = tile.first_channel + channel;
    const bool inside = tap < geometry.taps && output < geometry.group_outputs;
    const int64_t offset = static_cast<int64_t>(output) * geometry.taps + tap;
    stage.weights[depth][channel] = inside ? static_cast<S>(weight[offset]) : S(0);
  }
}

// The input pixel under tap (0, 0, 0) of one output pixel; it may lie in the padding.
struct Corner {
  int y, x;
  bool inside;  // false beyond the last output pixel

  __device__ Corner(int64_t pixel, const Geometry& geometry)
      : y(static_cast<int>(pixel / geometry.output_width * geometry.stride_h - geometry.padding_h)),
        x(static_cast<int>(pixel % geometry.output_width * geometry.stride_w - geometry.padding_w)),
        inside(pixel < geometry.output_pixels) {}
};

// Gathers the same taps under this thread's pixel of the tile; zero in the padding and beyond either end.
template <typename T, typename Shape>
__device__ __forceinline__ void stage_patches(Stage<sum_t<T>, Shape>& stage, const T* __restrict__ input,
                                              const Corner& corner, int first_tap, const Geometry& geometry) {
  using S = sum_t<T>;
  const int column = threadIdx.x % Shape::kPixels;
#pragma unroll 4
  for (int depth = threadIdx.x / Shape::kPixels; depth < kDepth; depth += kThreads / Shape::kPixels) {
    const int tap = first_tap + depth;
    const int channel = geometry.kernel_area.quotient(tap);
    const int in_kernel = tap - channel * geometry.kernel_area.value;
    const int row = geometry.kernel_width.quotient(in_kernel);
    const int y = corner.y + row * geometry.dilation_h;
    const int x = corner.x + (in_kernel - row * geometry.kernel_width.value) * geometry.dilation_w;
    const bool inside = corner.inside && tap < geometry.taps && 0 <= y && y < geometry.height && 0 <= x &&
                        x < geometry.width;
    const int64_t offset = channel * geometry.input_strides[1] + y * geometry.input_strides[2] +
                           x * geometry.input_strides[3];
    stage.patches[depth][column] = inside ? static_cast<S>(input[offset]) : S(0);
  }
}

template <typename S, typename Shape>
__device__ __forceinline__ void multiply(const Stage<S, Shape>& stage,
                                         S (&sums)[Shape::kThreadChannels][Shape::kThreadPixels]) {
  const int channel = threadIdx.x / Shape::kColumns * Shape::kThreadChannels;
  const int pixel = threadIdx.x % Shape::kColumns;
#pragma unroll
  for (int depth = 0; depth < kDepth; ++depth) {
#pragma unroll
    for (int j = 0; j < Shape::kThreadPixels; ++j) {
      const S patch = stage.patches[depth][pixel + j * Shape::kColumns];
#pragma unroll
      for (int i = 0; i < Shape::kThreadChannels; ++i) {
        sums[i][j] += stage.weights[depth][channel + i] * patch;
      }
    }
  }
}

// Adds the bias, applies the activation and writes the tile's values that exist.
template <typename T, typename Shape>
__device__ __forceinline__ void store(const sum_t<T> (&sums)[Shape::kThreadChannels][Shape::kThreadPixels],
                                      const T* __restrict__ bias, T* __restrict__ output,
                                      const Tile& tile, const Geometry& geometry) {
  using S = sum_t<T>;
  const int64_t first_pixel = tile.first_pixel + threadIdx.x % Shape::kColumns;
  const int first_channel = tile.first_channel + threadIdx.x / Shape::kColumns * Shape::kThreadChannels;
#pragma unroll
  for (int j = 0; j < Shape::kThreadPixels; ++j) {
    const int64_t pixel = first_pixel + j * Shape::kColumns;
    if (pixel >= geometry.output_pixels) break;
    T* position = output + tile.sample * geometry.output_strides[0] +
                  pixel / geometry.output_width * geometry.output_strides[2] +
                  pixel % geometry.output_width * geometry.output_strides[3];
#pragma unroll
    for (int i = 0; i < Shape::kThreadChannels; ++i) {
      if (first_channel + i >= geometry.group_outputs) break;
      const int64_t channel = static_cast<int64_t>(tile.group) * geometry.group_outputs + first_channel + i;
      const S shift = bias == nullptr ? S(0) : static_cast<S>(bias[channel * geometry.bias_strides[1]]);
      position[channel * geometry.output_strides[1]] = static_cast<T>(activate(sums[i][j] + shift, geometry));
    }
  }
}

// A one-dimensional grid of any size: each block takes every gridDim.x-th tile. `bias` may be null.
template <typename T, typename Shape>
__global__ void __launch_bounds__(kThreads, 2)
    forward(const T* __restrict__ input, const T* __restrict__ weight, const T* __restrict__ bias,
            T* __restrict__ output, const __grid_constant__ Geometry geometry,
            const __grid_constant__ Tiling tiling) {
  auto& stage = shared_object<Stage<sum_t<T>, Shape>>();
  for (int64_t index = blockIdx.x; index < tiling.count; index += gridDim.x) {
    const Tile tile = tiling.at(index, geometry.groups, Shape::kChannels, Shape::kPixels);
    const int64_t set = tile.sample / geometry.samples_per_set, group = tile.group;
    const T* group_input = input + tile.sample * geometry.input_strides[0] +
                           group * geometry.group_inputs * geometry.input_strides[1];
    const T* group_weight = weight + set * geometry.weight_set_stride +
                            group * geometry.group_outputs * geometry.taps;
    const T* set_bias = bias == nullptr ? nullptr : bias + set * geometry.bias_strides[0];
    const Corner corner(tile.first_pixel + threadIdx.x % Shape::kPixels, geometry);
    sum_t<T> sums[Shape::kThreadChannels][Shape::kThreadPixels] = {};
    for (int tap = 0; tap < geometry.taps; tap += kDepth) {
      stage_weights<T, Shape>(stage, group_weight, tile, tap, geometry);
      stage_patches<T, Shape>(stage, group_input, corner, tap, geometry);
      __syncthreads();
      multiply<sum_t<T>, Shape>(stage, sums);
      __syncthreads();
    }
    store<T, Shape>(sums, set_bias, output, tile, geometry);
  }
}

}  // namespace hyperconv

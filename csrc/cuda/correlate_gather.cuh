// Correlation by gathering: every dtype, shape and stride.
//
// In one group of one weight set it is a matrix product, weight (out_channels, taps) x patches (taps, pixels),
// where a tap is a channel and a kernel entry, and the pixels are those of all samples of the set. Patches are
// gathered from the source on the way to shared memory, kDepth taps at a time.

#pragma once

#include "numeric.cuh"

namespace hyperconv {

constexpr int kGatherThreads = 256;
constexpr int kDepth = 16;

// A block computes kChannels x kPixels values, each thread kThreadChannels x kThreadPixels of them.
template <int Channels, int Pixels, int ThreadChannels, int ThreadPixels>
struct GatherShape {
  static constexpr int kChannels = Channels, kPixels = Pixels;
  static constexpr int kThreadChannels = ThreadChannels, kThreadPixels = ThreadPixels;
  static constexpr int kColumns = Pixels / ThreadPixels;
  static_assert(kColumns * (Channels / ThreadChannels) == kGatherThreads, "a block has kGatherThreads threads");
  static_assert(kGatherThreads % Pixels == 0, "a thread gathers one pixel's taps");
};
using GatherWide = GatherShape<32, 128, 4, 4>;
using GatherThin = GatherShape<4, 256, 4, 1>;

// How the work is cut into blocks, numbered with pixels fastest, then phases, channels, groups and sets.
struct GatherTiling {
  int64_t count, pixel_tiles;
  int channel_tiles;
};

// Where one block works.
struct GatherTile {
  int64_t set, first_pixel;  // numbered through the samples of the set
  int group, first_channel, row_phase, column_phase;
  Taps rows, columns;

  __device__ GatherTile(int64_t index, const GatherTiling& tiling, int channels, int pixels,
                        const Correlation& problem) {
    first_pixel = index % tiling.pixel_tiles * pixels;
    index /= tiling.pixel_tiles;
    column_phase = static_cast<int>(index % problem.column.phases);
    index /= problem.column.phases;
    row_phase = static_cast<int>(index % problem.row.phases);
    index /= problem.row.phases;
    first_channel = static_cast<int>(index % tiling.channel_tiles) * channels;
    index /= tiling.channel_tiles;
    group = static_cast<int>(index % problem.groups);
    set = index / problem.groups;
    rows = problem.row.taps(row_phase);
    columns = problem.column.taps(column_phase);
  }
};

// One pixel of a tile: its sample, and its position among those of the phase.
struct GatherPixel {
  int64_t sample;
  int y, x;
  bool inside;

  __device__ GatherPixel(const GatherTile& tile, int64_t pixel, const Correlation& problem) {
    const int64_t pixels = static_cast<int64_t>(tile.rows.outputs) * tile.columns.outputs;
    const int64_t shared = pixel / pixels, rest = pixel - shared * pixels;
    inside = shared < problem.samples_per_set;
    sample = tile.set * problem.samples_per_set + shared;
    y = static_cast<int>(rest / tile.columns.outputs);
    x = static_cast<int>(rest - static_cast<int64_t>(y) * tile.columns.outputs);
  }
};

// One tap of the matrix product; Index holds every offset within a sample.
template <typename Index>
struct GatherTap {
  int64_t weight;
  Index source, mask;
  int dy, dx;
  bool inside;

  __device__ GatherTap(int tap, const GatherTile& tile, const Correlation& problem) {
    const int area = tile.rows.count * tile.columns.count;
    const int channel = tap / area, entry = tap - channel * area;
    const int i = entry / tile.columns.count, j = entry - i * tile.columns.count;
    inside = channel < problem.in_channels;
    dy = i * problem.row.tap_step;
    dx = j * problem.column.tap_step;
    source = static_cast<Index>(channel * problem.source.stride[1] + dy * problem.source.stride[2] +
                                dx * problem.source.stride[3]);
    mask = static_cast<Index>(channel * problem.source_mask.stride[1] + dy * problem.source_mask.stride[2] +
                              dx * problem.source_mask.stride[3]);
    const int64_t row = tile.rows.first_entry + i * problem.row.entry_step;
    const int64_t column = tile.columns.first_entry + j * problem.column.entry_step;
    weight = channel * problem.weight_in_stride + row * problem.weight_entry_stride[0] +
             column * problem.weight_entry_stride[1];
  }
};

// Shared memory of a block; the padding spares the transposed store of the weights most bank conflicts.
template <typename S, typename Shape, typename Index>
struct GatherStage {
  alignas(16) S weights[kDepth][Shape::kChannels + 4];
  alignas(16) S patches[kDepth][Shape::kPixels];
  alignas(16) char taps[2][kDepth][sizeof(GatherTap<Index>)];

  __device__ GatherTap<Index>& tap(int buffer, int depth) {
    return reinterpret_cast<GatherTap<Index>&>(taps[buffer][depth]);
  }
};

template <typename T, typename Shape, typename Index>
__device__ __forceinline__ void stage_weights(GatherStage<sum_t<T>, Shape, Index>& stage, int buffer,
                                              const T* __restrict__ weight, const GatherTile& tile,
                                              const Correlation& problem) {
  using S = sum_t<T>;
  const int depth = threadIdx.x % kDepth;
  const GatherTap<Index> tap = stage.tap(buffer, depth);
#pragma unroll
  for (int channel = threadIdx.x / kDepth; channel < Shape::kChannels; channel += kGatherThreads / kDepth) {
    const int output = tile.first_channel + channel;
    const bool inside = tap.inside && output < problem.out_channels;
    const int64_t offset = output * problem.weight_out_stride + tap.weight;
    stage.weights[depth][channel] = inside ? static_cast<S>(weight[offset]) : S(0);
  }
}

// The source under the first tap of one pixel; `mask` is null without one.
template <typename T>
struct GatherCorner {
  const T *source, *mask;
  int y, x;
  bool inside;

  __device__ GatherCorner(const GatherTile& tile, const GatherPixel& pixel, const Correlation& problem)
      : inside(pixel.inside) {
    y = pixel.y * problem.row.step + tile.rows.offset;
    x = pixel.x * problem.column.step + tile.columns.offset;
    const auto at = [&](const Image& image) {
      return static_cast<const T*>(image.data) + pixel.sample * image.stride[0] +
             static_cast<int64_t>(tile.group) * problem.in_channels * image.stride[1] + y * image.stride[2] +
             x * image.stride[3];
    };
    source = at(problem.source);
    mask = problem.source_mask.data == nullptr ? nullptr : at(problem.source_mask);
  }
};

template <typename T, typename Shape, typename Index>
__device__ __forceinline__ void stage_patches(GatherStage<sum_t<T>, Shape, Index>& stage, int buffer,
                                              const GatherCorner<T>& corner, const Correlation& problem) {
  using S = sum_t<T>;
  const int column = threadIdx.x % Shape::kPixels;
  const S slope = static_cast<S>(problem.negative_slope);
#pragma unroll 4
  for (int depth = threadIdx.x / Shape::kPixels; depth < kDepth; depth += kGatherThreads / Shape::kPixels) {
    const GatherTap<Index>& tap = stage.tap(buffer, depth);
    const int y = corner.y + tap.dy, x = corner.x + tap.dx;
    S value = S(0);
    if (corner.inside && tap.inside && 0 <= y && y < problem.row.source && 0 <= x && x < problem.column.source) {
      value = static_cast<S>(corner.source[tap.source]);
      if (corner.mask != nullptr) value = apply_mask(value, corner.mask[tap.mask], slope);
    }
    stage.patches[depth][column] = value;
  }
}

template <typename S, typename Shape, typename Index>
__device__ __forceinline__ void multiply(const GatherStage<S, Shape, Index>& stage,
                                         S (&sums)[Shape::kThreadChannels][Shape::kThreadPixels]) {
  const int channel = threadIdx.x / Shape::kColumns * Shape::kThreadChannels;
  const int pixel = threadIdx.x % Shape::kColumns;
#pragma unroll
  for (int depth = 0; depth < kDepth; ++depth) {
#pragma unroll
    for (int j = 0; j < Shape::kThreadPixels; ++j) {
      const S patch = stage.patches[depth][pixel + j * Shape::kColumns];
#pragma unroll
      for (int i = 0; i < Shape::kThreadChannels; ++i) sums[i][j] += stage.weights[depth][channel + i] * patch;
    }
  }
}

// Adds the bias, applies the activation and the mask, and writes the tile's values that exist.
template <typename T, typename Shape>
__device__ __forceinline__ void store(const sum_t<T> (&sums)[Shape::kThreadChannels][Shape::kThreadPixels],
                                      const GatherTile& tile, const Correlation& problem) {
  using S = sum_t<T>;
  const T* bias = static_cast<const T*>(problem.bias);
  const S slope = static_cast<S>(problem.negative_slope);
  const int first_channel = tile.first_channel + threadIdx.x / Shape::kColumns * Shape::kThreadChannels;
#pragma unroll
  for (int j = 0; j < Shape::kThreadPixels; ++j) {
    const GatherPixel pixel(tile, tile.first_pixel + threadIdx.x % Shape::kColumns + j * Shape::kColumns, problem);
    if (!pixel.inside) break;
    const int64_t y = tile.row_phase + static_cast<int64_t>(pixel.y) * problem.row.spacing;
    const int64_t x = tile.column_phase + static_cast<int64_t>(pixel.x) * problem.column.spacing;
    const auto at = [&](const Image& image, int64_t channel) {
      return static_cast<T*>(image.data) + pixel.sample * image.stride[0] + channel * image.stride[1] +
             y * image.stride[2] + x * image.stride[3];
    };
#pragma unroll
    for (int i = 0; i < Shape::kThreadChannels; ++i) {
      if (first_channel + i >= problem.out_channels) break;
      const int64_t channel = static_cast<int64_t>(tile.group) * problem.out_channels + first_channel + i;
      S value = sums[i][j];
      if (bias != nullptr) {
        value += static_cast<S>(bias[tile.set * problem.bias_set_stride + channel * problem.bias_stride]);
      }
      value = activate(value, problem.activation, slope);
      if (problem.destination_mask.data != nullptr) {
        value = apply_mask(value, *at(problem.destination_mask, channel), slope);
      }
      *at(problem.destination, channel) = static_cast<T>(value);
    }
  }
}

// A one-dimensional grid of any size: each block takes every gridDim.x-th tile.
template <typename T, typename Shape, typename Index>
__global__ void __launch_bounds__(kGatherThreads, 2)
    correlate_gather_kernel(const __grid_constant__ Correlation problem, const __grid_constant__ GatherTiling tiling) {
  using S = sum_t<T>;
  auto& stage = shared_object<GatherStage<S, Shape, Index>>();
  for (int64_t index = blockIdx.x; index < tiling.count; index += gridDim.x) {
    const GatherTile tile(index, tiling, Shape::kChannels, Shape::kPixels, problem);
    const int64_t pixels = static_cast<int64_t>(tile.rows.outputs) * tile.columns.outputs * problem.samples_per_set;
    if (tile.first_pixel >= pixels) continue;  // of a phase that is smaller than the first
    const GatherPixel pixel(tile, tile.first_pixel + threadIdx.x % Shape::kPixels, problem);
    const GatherCorner<T> corner(tile, pixel, problem);
    const T* weight = static_cast<const T*>(problem.weight) + tile.set * problem.weight_set_stride +
                      tile.group * problem.weight_group_stride;
    const int taps = problem.in_channels * tile.rows.count * tile.columns.count;
    S sums[Shape::kThreadChannels][Shape::kThreadPixels] = {};
    int buffer = 0;
    if (taps > 0 && threadIdx.x < kDepth) stage.tap(0, threadIdx.x) = GatherTap<Index>(threadIdx.x, tile, problem);
    for (int first = 0; first < taps; first += kDepth, buffer ^= 1) {
      __syncthreads();
      stage_weights<T, Shape, Index>(stage, buffer, weight, tile, problem);
      stage_patches<T, Shape, Index>(stage, buffer, corner, problem);
      if (threadIdx.x < kDepth) {
        stage.tap(buffer ^ 1, threadIdx.x) = GatherTap<Index>(first + kDepth + threadIdx.x, tile, problem);
      }
      __syncthreads();
      multiply<S, Shape, Index>(stage, sums);
    }
    store<T, Shape>(sums, tile, problem);
    __syncthreads();
  }
}

template <typename T, typename Shape, typename Index>
void launch_shape(const Correlation& problem, Stream stream) {
  const int64_t pixels = static_cast<int64_t>(problem.row.outputs(0)) * problem.column.outputs(0);
  GatherTiling tiling{};
  tiling.pixel_tiles = divide_up(pixels * problem.samples_per_set, Shape::kPixels);
  tiling.channel_tiles = static_cast<int>(divide_up(problem.out_channels, Shape::kChannels));
  tiling.count = problem.sets * problem.groups * tiling.channel_tiles * problem.row.phases * problem.column.phases *
                 tiling.pixel_tiles;
  if (tiling.count == 0) return;
  const auto blocks = static_cast<unsigned>(tiling.count < kLargestInt ? tiling.count : kLargestInt);
  launch(correlate_gather_kernel<T, Shape, Index>, dim3(blocks), dim3(kGatherThreads), 0, stream, problem, tiling);
}

template <typename T>
void launch_correlate_gather(const Correlation& problem, bool in_int, Stream stream) {
  if (!in_int) {
    launch_shape<T, GatherWide, int64_t>(problem, stream);
  } else if (problem.out_channels <= GatherThin::kChannels) {
    launch_shape<T, GatherThin, int>(problem, stream);
  } else {
    launch_shape<T, GatherWide, int>(problem, stream);
  }
}

}  // namespace hyperconv

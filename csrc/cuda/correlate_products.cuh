// The inner loop of correlation on tiles, on tensor cores and in ordinary arithmetic: sums of pixels x output channels
// in registers, over the taps of one chunk in shared memory (correlate_tile.cuh).
//
// A lane has the values (pixel(i), out(j)) of its block's tile, i < kLanePixels, j < kLaneOuts.

#pragma once

#include "words.cuh"

namespace hyperconv {

// The chunk of taps that a block multiplies: halo[table[k] + place of the pixel] times weights[out * pitch + k].
struct Chunk {
  const uint32_t *halo, *weights;
  const int* table;
  int depth, pitch;
};

// A warp computes TilesDown x TilesAcross products of 16 pixels x 8 channels, a block WarpsDown x WarpsAcross warps.
template <typename T, int TilesDown, int TilesAcross, int WarpsDown, int WarpsAcross>
struct TensorProduct {
  using Element = T;
  static constexpr int kThreads = 32 * WarpsDown * WarpsAcross, kBlocks = 2;
  static constexpr int kPixels = TilesDown * 16 * WarpsDown, kOuts = TilesAcross * 8 * WarpsAcross;
  static constexpr int kLanePixels = 2 * TilesDown, kLaneOuts = 2 * TilesAcross;

  float sums[TilesDown][TilesAcross][4];

  __device__ __forceinline__ float& at(int i, int j) { return sums[i / 2][j / 2][i % 2 * 2 + j % 2]; }

  static __device__ __forceinline__ int pixel(int i) {
    return threadIdx.x / 32 % WarpsDown * TilesDown * 16 + threadIdx.x % 32 / 4 + i * 8;
  }
  static __device__ __forceinline__ int out(int j) {
    return threadIdx.x / 32 / WarpsDown * TilesAcross * 8 + j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2;
  }

  __device__ __forceinline__ void multiply(const Chunk& chunk, const int (&places)[kLanePixels]) {
    const int step = threadIdx.x % 4, first_out = threadIdx.x / 32 / WarpsDown * TilesAcross * 8;
    const uint32_t* weights = chunk.weights + (first_out + threadIdx.x % 32 / 4) * chunk.pitch + step;
    const int* table = chunk.table + step;
    for (int k = 0; k < chunk.depth; k += kStep, table += kStep, weights += kStep) {
      const uint32_t *left = chunk.halo + table[0], *right = chunk.halo + table[4];
      uint32_t b[TilesAcross][2];
#pragma unroll
      for (int j = 0; j < TilesAcross; ++j) {
        b[j][0] = Words<T>::operand(weights[j * 8 * chunk.pitch]);
        b[j][1] = Words<T>::operand(weights[j * 8 * chunk.pitch + 4]);
      }
#pragma unroll
      for (int i = 0; i < TilesDown; ++i) {
        const int upper = places[2 * i], lower = places[2 * i + 1];
        const uint32_t a[4] = {Words<T>::operand(left[upper]), Words<T>::operand(left[lower]),
                               Words<T>::operand(right[upper]), Words<T>::operand(right[lower])};
#pragma unroll
        for (int j = 0; j < TilesAcross; ++j) multiply_add<T>(sums[i][j], a, b[j]);
      }
    }
  }
};

// float32 as it is. PixelLanes lanes of a warp lie side by side along pixels, the others along channels; a lane
// computes LanePixels x LaneOuts sums.
template <int PixelLanes, int LanePixels, int LaneOuts, int WarpsDown, int WarpsAcross>
struct PlainProduct {
  using Element = float;
  static constexpr int kOutLanes = 32 / PixelLanes;
  static constexpr int kThreads = 32 * WarpsDown * WarpsAcross, kBlocks = 2;
  static constexpr int kPixels = PixelLanes * LanePixels * WarpsDown, kOuts = kOutLanes * LaneOuts * WarpsAcross;
  static constexpr int kLanePixels = LanePixels, kLaneOuts = LaneOuts;
  static constexpr int kUnroll = 4;

  float sums[LanePixels][LaneOuts];

  __device__ __forceinline__ float& at(int i, int j) { return sums[i][j]; }

  static __device__ __forceinline__ int pixel(int i) {
    return threadIdx.x / 32 % WarpsDown * PixelLanes * LanePixels + threadIdx.x % PixelLanes + i * PixelLanes;
  }
  static __device__ __forceinline__ int out(int j) {
    return threadIdx.x / 32 / WarpsDown * kOutLanes * LaneOuts + threadIdx.x % 32 / PixelLanes + j * kOutLanes;
  }

  __device__ __forceinline__ void multiply(const Chunk& chunk, const int (&places)[kLanePixels]) {
    const float* weights = reinterpret_cast<const float*>(chunk.weights) + out(0) * chunk.pitch;
    for (int k = 0; k < chunk.depth; k += kUnroll, weights += kUnroll) {
      float weight[LaneOuts][kUnroll];
#pragma unroll
      for (int j = 0; j < LaneOuts; ++j) {
        const float4 four = *reinterpret_cast<const float4*>(weights + j * kOutLanes * chunk.pitch);
        weight[j][0] = four.x, weight[j][1] = four.y, weight[j][2] = four.z, weight[j][3] = four.w;
      }
#pragma unroll
      for (int tap = 0; tap < kUnroll; ++tap) {
        const float* halo = reinterpret_cast<const float*>(chunk.halo) + chunk.table[k + tap];
#pragma unroll
        for (int i = 0; i < LanePixels; ++i) {
          const float pixel = halo[places[i]];
#pragma unroll
          for (int j = 0; j < LaneOuts; ++j) sums[i][j] += pixel * weight[j][tap];
        }
      }
    }
  }
};

}  // namespace hyperconv

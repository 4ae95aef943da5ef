// The inner loop of accumulation on tiles, on tensor cores and in ordinary arithmetic: sums of output channels (rows)
// x columns in registers, over the pixels of one tile in shared memory (accumulate_tile.cuh).
//
// A lane has the values (row(i), column(j)) of its block, i < kLaneRows, j < kLaneColumns, and reads the columns
// read_column(j), j < kReads.

#pragma once

#include "words.cuh"

namespace hyperconv {

// Both factors of one tile: grad[row * pitch + k] and halo[table[k] + place of the column].
struct TileFactors {
  const uint32_t *grad, *halo;
  const int* table;
  int depth, pitch;
};

// A warp computes TilesDown x TilesAcross products of 16 rows x 8 columns, a block four warps side by side.
template <typename T, int TilesDown, int TilesAcross>
struct TensorSums {
  using Element = T;
  static constexpr int kWarps = 4, kThreads = 32 * kWarps, kBlocks = 2;
  static constexpr int kRows = TilesDown * 16, kColumns = TilesAcross * 8 * kWarps;
  static constexpr int kLaneRows = 2 * TilesDown, kLaneColumns = 2 * TilesAcross, kReads = TilesAcross;

  float sums[TilesDown][TilesAcross][4] = {};

  __device__ __forceinline__ float at(int i, int j) const { return sums[i / 2][j / 2][i % 2 * 2 + j % 2]; }

  static __device__ __forceinline__ int first_column() { return threadIdx.x / 32 * TilesAcross * 8; }
  static __device__ __forceinline__ int row(int i) { return threadIdx.x % 32 / 4 + i * 8; }
  static __device__ __forceinline__ int column(int j) {
    return first_column() + j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2;
  }
  static __device__ __forceinline__ int read_column(int j) { return first_column() + j * 8 + threadIdx.x % 32 / 4; }

  __device__ __forceinline__ void multiply(const TileFactors& tile, const int (&places)[kReads]) {
    const uint32_t* grad = tile.grad + threadIdx.x % 32 / 4 * tile.pitch + threadIdx.x % 4;
    const int* table = tile.table + threadIdx.x % 4;
    for (int k = 0; k < tile.depth; k += kStep, grad += kStep, table += kStep) {
      uint32_t a[TilesDown][4];
#pragma unroll
      for (int i = 0; i < TilesDown; ++i) {
        a[i][0] = Words<T>::operand(grad[i * 16 * tile.pitch]);
        a[i][1] = Words<T>::operand(grad[(i * 16 + 8) * tile.pitch]);
        a[i][2] = Words<T>::operand(grad[i * 16 * tile.pitch + 4]);
        a[i][3] = Words<T>::operand(grad[(i * 16 + 8) * tile.pitch + 4]);
      }
      const uint32_t *upper = tile.halo + table[0], *lower = tile.halo + table[4];
#pragma unroll
      for (int j = 0; j < TilesAcross; ++j) {
        const uint32_t b[2] = {Words<T>::operand(upper[places[j]]), Words<T>::operand(lower[places[j]])};
#pragma unroll
        for (int i = 0; i < TilesDown; ++i) multiply_add<T>(sums[i][j], a[i], b);
      }
    }
  }
};

// float32 as it is. RowLanes lanes of a warp lie side by side along rows, the others along columns; a lane computes
// LaneRows x LaneColumns sums.
template <int RowLanes, int LaneRows, int LaneColumns, int Warps>
struct PlainSums {
  using Element = float;
  static constexpr int kWarps = Warps, kThreads = 32 * Warps, kBlocks = 2, kColumnLanes = 32 / RowLanes;
  static constexpr int kRows = RowLanes * LaneRows, kColumns = kColumnLanes * LaneColumns * Warps;
  static constexpr int kLaneRows = LaneRows, kLaneColumns = LaneColumns, kReads = LaneColumns;
  static constexpr int kUnroll = 4;

  float sums[LaneRows][LaneColumns] = {};

  __device__ __forceinline__ float at(int i, int j) const { return sums[i][j]; }

  static __device__ __forceinline__ int first_column() { return threadIdx.x / 32 * kColumnLanes * LaneColumns; }
  static __device__ __forceinline__ int row(int i) { return threadIdx.x % RowLanes + i * RowLanes; }
  static __device__ __forceinline__ int column(int j) {
    return first_column() + threadIdx.x % 32 / RowLanes + j * kColumnLanes;
  }
  static __device__ __forceinline__ int read_column(int j) { return column(j); }

  __device__ __forceinline__ void multiply(const TileFactors& tile, const int (&places)[kReads]) {
    const float* grad = reinterpret_cast<const float*>(tile.grad) + row(0) * tile.pitch;
    for (int k = 0; k < tile.depth; k += kUnroll, grad += kUnroll) {
      float values[LaneRows][kUnroll];
#pragma unroll
      for (int i = 0; i < LaneRows; ++i) {
        const float4 four = *reinterpret_cast<const float4*>(grad + i * RowLanes * tile.pitch);
        values[i][0] = four.x, values[i][1] = four.y, values[i][2] = four.z, values[i][3] = four.w;
      }
#pragma unroll
      for (int step = 0; step < kUnroll; ++step) {
        const float* halo = reinterpret_cast<const float*>(tile.halo) + tile.table[k + step];
#pragma unroll
        for (int j = 0; j < LaneColumns; ++j) {
          const float pixel = halo[places[j]];
#pragma unroll
          for (int i = 0; i < LaneRows; ++i) sums[i][j] += values[i][step] * pixel;
        }
      }
    }
  }
};

// Sums over the pixels of each row of grad, lane by lane: warp w has the rows w, w + Warps, ...
template <typename T, int Rows, int Warps>
struct RowSums {
  static constexpr int kCount = (Rows + Warps - 1) / Warps;
  float of[kCount] = {};

  __device__ __forceinline__ void add(const TileFactors& tile) {
    const int warp = threadIdx.x / 32;
    for (int k = threadIdx.x % 32; k < tile.depth; k += 32) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        if (warp + i * Warps >= Rows) break;
        const uint32_t word = tile.grad[(warp + i * Warps) * tile.pitch + k];
        of[i] += Words<T>::low(word) + Words<T>::high(word);
      }
    }
  }

  // Of row threadIdx.x, over the lanes too, through `shared`, which holds Rows x 33 floats.
  __device__ __forceinline__ float total(float* shared) const {
    const int warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (warp + i * Warps < Rows) shared[(warp + i * Warps) * 33 + threadIdx.x % 32] = of[i];
    }
    __syncthreads();
    float sum = 0.0f;
    if (threadIdx.x >= Rows) return sum;
    for (int i = 0; i < 32; ++i) sum += shared[threadIdx.x * 33 + i];
    return sum;
  }
};

}  // namespace hyperconv

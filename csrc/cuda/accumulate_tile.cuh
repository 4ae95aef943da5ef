// Accumulation on tiles: on tensor cores (float32 as TF32, bfloat16, float16), or in float32 as it is.
//
// In one group of one weight set it is a matrix product, grad (out_channels, pixels) x halo (pixels, columns), where
// a column is an input channel and a kernel entry. A block keeps grad and the halo of the input of one pixel tile
// in shared memory, as [channel][pixel word]; a pixel of a column is the sum of two offsets in the halo, one of the
// pixel (a table in shared memory) and one of the column (in registers). Its sums stay in registers over all tiles
// of its part of the pixels; while one tile is multiplied, the next is on its way into the other stage.

#pragma once

#include "accumulate_plan.h"
#include "accumulate_products.cuh"
#include "parts.cuh"

namespace hyperconv {

// Where one block works.
struct ProductBlock {
  int64_t set, first_tile, last_tile;
  int part, group, first_row, first_column, first_channel;

  __device__ ProductBlock(int64_t index, const ProductPlan& plan, int rows, int columns, int parts,
                          const Accumulation& problem) {
    first_column = static_cast<int>(index % plan.column_tiles) * columns;
    index /= plan.column_tiles;
    first_row = static_cast<int>(index % plan.row_tiles) * rows;
    index /= plan.row_tiles;
    part = static_cast<int>(index % parts);
    index /= parts;
    group = static_cast<int>(index % problem.groups);
    set = index / problem.groups;
    first_channel = first_column / (problem.row.kernel * problem.column.kernel);
    first_tile = part * plan.tiles_per_part;
    last_tile = first_tile + plan.tiles_per_part < plan.tiles ? first_tile + plan.tiles_per_part : plan.tiles;
  }
};

// Values at one word of a plane, for several channels: the pixel itself, and the one `apart` rows below it.
template <typename T>
struct WordReader {
  const T *values, *mask;
  int64_t apart, mask_apart;
  bool first, second;
  float slope;

  // At (sample, channel, y, x) of an image of `rows` x `columns`; outside it, zeros.
  __device__ WordReader(const Image& image, const Image& mask_image, int64_t sample, int64_t channel, int y, int x,
                        int rows, int columns, int distance, bool present, float slope)
      : slope(slope) {
    first = present && 0 <= y && y < rows && 0 <= x && x < columns;
    second = present && 0 <= y + distance && y + distance < rows && 0 <= x && x < columns;
    const auto at = [&](const Image& of) {
      const T* start = static_cast<const T*>(of.data);
      if (start == nullptr || !(first || second)) return start;
      return start + sample * of.stride[0] + channel * of.stride[1] + y * of.stride[2] + x * of.stride[3];
    };
    values = at(image);
    mask = at(mask_image);
    apart = distance * image.stride[2];
    mask_apart = distance * mask_image.stride[2];
  }

  __device__ __forceinline__ void load(uint32_t* word, bool present, int64_t offset, int64_t mask_offset) const {
    if (Words<T>::kPack == 1 && mask == nullptr) {
      cp_async(word, first && present ? values + offset : values, first && present);
      return;
    }
    const T low = read(values, mask, offset, mask_offset, first && present, slope);
    const bool reads_second = Words<T>::kPack == 2 && second && present;
    const T high = read(values, mask, offset + apart, mask_offset + mask_apart, reads_second, slope);
    *word = Words<T>::pack(low, high);
  }
};

// grad of one tile into [row][pixel word].
template <typename T>
__device__ __forceinline__ void load_grad(uint32_t* target, int rows, const TileStart& tile, const ProductBlock& block,
                                          const ProductPlan& plan, const Accumulation& problem) {
  const int64_t first_channel = static_cast<int64_t>(block.group) * problem.out_channels + block.first_row;
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int k = threadIdx.x % 32; k < plan.depth; k += 32) {
    const WordPlace place(k, plan.tile.area, plan.tile.width);
    const int64_t sample = tile.sample + place.sample;
    const bool present = place.sample < plan.tile.samples && sample < problem.samples_per_set;
    const WordReader<T> reader(problem.grad, problem.mask, block.set * problem.samples_per_set + sample, first_channel,
                               tile.y + place.row, tile.x + place.column, problem.row.destination,
                               problem.column.destination, plan.tile.rows, present,
                               static_cast<float>(problem.negative_slope));
#pragma unroll 4
    for (int row = warp; row < rows; row += warps) {
      reader.load(target + row * plan.grad_pitch + k, block.first_row + row < problem.out_channels,
                  row * problem.grad.stride[1], row * problem.mask.stride[1]);
    }
  }
}

// The halo of one tile into [channel][pixel word].
template <typename T>
__device__ __forceinline__ void load_input(uint32_t* target, const TileStart& tile, const ProductBlock& block,
                                           const ProductPlan& plan, const Accumulation& problem) {
  const int64_t first_channel = static_cast<int64_t>(block.group) * problem.in_channels + block.first_channel;
  const int first_y = tile.y * problem.row.step - problem.row.padding;
  const int first_x = tile.x * problem.column.step - problem.column.padding;
  for (int index = threadIdx.x; index < plan.tile.halo_words(); index += blockDim.x) {
    const WordPlace place(index, plan.tile.halo_area, plan.tile.halo_width);
    const int64_t sample = tile.sample + place.sample;
    const WordReader<T> reader(problem.input, Image{}, block.set * problem.samples_per_set + sample, first_channel,
                               first_y + place.row, first_x + place.column, problem.row.source, problem.column.source,
                               plan.tile.rows * problem.row.step, sample < problem.samples_per_set, 1.0f);
#pragma unroll 4
    for (int channel = 0; channel < plan.staged_channels; ++channel) {
      reader.load(target + channel * plan.tile.plane + index, block.first_channel + channel < problem.in_channels,
                  channel * problem.input.stride[1], 0);
    }
  }
}

// The offsets in the halo of the columns that this lane reads.
template <typename Sums>
__device__ __forceinline__ void place_columns(int (&places)[Sums::kReads], const ProductBlock& block,
                                              const ProductPlan& plan, const Accumulation& problem) {
  const int area = problem.row.kernel * problem.column.kernel;
#pragma unroll
  for (int j = 0; j < Sums::kReads; ++j) {
    const int column = block.first_column + Sums::read_column(j), channel = column / area;
    const int entry = column - channel * area, i = entry / problem.column.kernel;
    const int place = i * problem.row.dilation * plan.tile.halo_columns +
                      (entry - i * problem.column.kernel) * problem.column.dilation;
    places[j] = channel < problem.in_channels ? (channel - block.first_channel) * plan.tile.plane + place : 0;
  }
}

template <typename Sums>
__device__ __forceinline__ void store_sums(const Sums& sums, const ProductBlock& block, const Parts& parts,
                                           const Accumulation& problem) {
  const int columns = problem.in_channels * problem.row.kernel * problem.column.kernel;
  const int64_t first_channel = (block.set * problem.groups + block.group) * problem.out_channels;
#pragma unroll
  for (int i = 0; i < Sums::kLaneRows; ++i) {
    const int row = block.first_row + Sums::row(i);
    if (row >= problem.out_channels) break;
#pragma unroll
    for (int j = 0; j < Sums::kLaneColumns; ++j) {
      const int column = block.first_column + Sums::column(j);
      if (column >= columns) break;
      parts.store<typename Sums::Element>(block.part, (first_channel + row) * columns + column, sums.at(i, j));
    }
  }
}

template <typename Sums>
__global__ void __launch_bounds__(Sums::kThreads, Sums::kBlocks)
    accumulate_tile_kernel(const __grid_constant__ Accumulation problem, const __grid_constant__ ProductPlan plan,
                           const __grid_constant__ Parts parts) {
  using T = typename Sums::Element;
  int* table = reinterpret_cast<int*>(shared_memory());
  uint32_t* stages = reinterpret_cast<uint32_t*>(table + plan.depth);
  for (int k = threadIdx.x; k < plan.depth; k += Sums::kThreads) {
    const WordPlace place(k, plan.tile.area, plan.tile.width);
    const int row = place.sample * plan.tile.halo_rows + place.row * problem.row.step;
    table[k] = k < plan.tile.words() ? row * plan.tile.halo_columns + place.column * problem.column.step : 0;
  }
  const int all_columns = problem.in_channels * problem.row.kernel * problem.column.kernel;
  for (int64_t index = blockIdx.x; index < plan.count; index += gridDim.x) {
    const ProductBlock block(index, plan, Sums::kRows, Sums::kColumns, parts.count, problem);
    int places[Sums::kReads];
    place_columns<Sums>(places, block, plan, problem);
    const auto load_stage = [&](int64_t number, int stage) {
      uint32_t* grad = stages + stage * plan.stage_words;
      const TileStart tile(number, plan.tile);
      load_grad<T>(grad, Sums::kRows, tile, block, plan, problem);
      load_input<T>(grad + plan.grad_words, tile, block, plan, problem);
      cp_async_commit();
    };

    Sums sums;
    RowSums<T, Sums::kRows, Sums::kWarps> row_sums;
    const bool sums_rows = problem.bias_gradient != nullptr && block.first_column == 0;
    int stage = 0;
    if (block.first_tile < block.last_tile) load_stage(block.first_tile, stage);
    for (int64_t tile = block.first_tile; tile < block.last_tile; ++tile, stage ^= 1) {
      cp_async_wait<0>();
      __syncthreads();
      if (tile + 1 < block.last_tile) load_stage(tile + 1, stage ^ 1);
      const uint32_t* grad = stages + stage * plan.stage_words;
      const TileFactors factors{grad, grad + plan.grad_words, table, plan.depth, plan.grad_pitch};
      if (block.first_column + Sums::first_column() < all_columns) sums.multiply(factors, places);
      if (sums_rows) row_sums.add(factors);
    }
    store_sums(sums, block, parts, problem);
    __syncthreads();
    if (!sums_rows) continue;
    const float sum = row_sums.total(reinterpret_cast<float*>(stages));
    const int row = block.first_row + static_cast<int>(threadIdx.x);
    if (threadIdx.x < Sums::kRows && row < problem.out_channels) {
      parts.store_bias<T>(block.part, (block.set * problem.groups + block.group) * problem.out_channels + row, sum);
    }
    __syncthreads();
  }
}

template <typename Sums>
bool launch_sums(const Accumulation& problem, const Parts& parts, const Limits& limits, Stream stream) {
  constexpr int kPack = Words<typename Sums::Element>::kPack;
  const ProductPlan plan = plan_product(problem, kPack, Sums::kRows, Sums::kColumns, parts.count, limits.shared_bytes);
  if (plan.count == 0) return false;
  const auto blocks = static_cast<unsigned>(plan.count < kLargestInt ? plan.count : kLargestInt);
  launch(accumulate_tile_kernel<Sums>, dim3(blocks), dim3(Sums::kThreads), plan.shared_bytes(), stream, problem, plan,
         parts);
  return true;
}

template <typename T>
bool accumulate_on_tensor_cores(const Accumulation& problem, const Parts& parts, const Limits& limits, Stream stream) {
  switch (product_shape(problem)) {
    case ProductShape::flat: return launch_sums<TensorSums<T, 1, 9>>(problem, parts, limits, stream);
    case ProductShape::medium: return launch_sums<TensorSums<T, 2, 9>>(problem, parts, limits, stream);
    case ProductShape::narrow: return launch_sums<TensorSums<T, 4, 2>>(problem, parts, limits, stream);
    default: return launch_sums<TensorSums<T, 4, 9>>(problem, parts, limits, stream);
  }
}

inline bool accumulate_in_float32(const Accumulation& problem, const Parts& parts, const Limits& limits,
                                  Stream stream) {
  switch (product_shape(problem)) {
    case ProductShape::flat: return launch_sums<PlainSums<1, 4, 3, 3>>(problem, parts, limits, stream);
    case ProductShape::medium: return launch_sums<PlainSums<8, 4, 9, 8>>(problem, parts, limits, stream);
    case ProductShape::narrow: return launch_sums<PlainSums<8, 8, 4, 4>>(problem, parts, limits, stream);
    default: return launch_sums<PlainSums<8, 8, 9, 4>>(problem, parts, limits, stream);
  }
}

}  // namespace hyperconv

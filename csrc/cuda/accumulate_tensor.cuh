// Accumulation on tensor cores: float32 as TF32, bfloat16, float16.
//
// In one group of one weight set it is a matrix product, grad (out_channels, pixels) x halo (pixels, columns), where
// a column is an input channel and a kernel entry. A block keeps grad and the halo of the input of one pixel tile
// in shared memory, as [channel][pixel word]; a pixel of a column is the sum of two offsets in the halo, one of the
// pixel (a table in shared memory) and one of the column (in registers). Its sums stay in registers over all tiles
// of its part of the pixels; while one tile is multiplied, the next is on its way into the other stage.

#pragma once

#include "accumulate_plan.h"
#include "parts.cuh"
#include "words.cuh"

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

// One pixel tile: its first sample among those of the set, and its first pixel.
struct ProductTile {
  int64_t sample;
  int y, x;

  __device__ ProductTile(int64_t index, const PixelTile& tile) {
    x = static_cast<int>(index % tile.column_tiles) * tile.columns;
    index /= tile.column_tiles;
    y = static_cast<int>(index % tile.row_tiles) * tile.rows * tile.stack;
    sample = index / tile.row_tiles * tile.samples;
  }
};

// Where word `index` of a plane lies: [sample][row][column].
struct WordPlace {
  int sample, row, column;

  __device__ WordPlace(int index, const Divisor& area, const Divisor& width) {
    sample = area.quotient(index);
    const int rest = index - sample * static_cast<int>(area.value);
    row = width.quotient(rest);
    column = rest - row * static_cast<int>(width.value);
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
      cp_async<4>(word, first && present ? values + offset : values, first && present);
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
__device__ __forceinline__ void load_grad(uint32_t* target, int rows, const ProductTile& tile, const ProductBlock& block,
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
__device__ __forceinline__ void load_input(uint32_t* target, const ProductTile& tile, const ProductBlock& block,
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

// sums += one tile of pixels. `columns` are the offsets in the halo of this lane's columns.
template <typename T, typename Shape>
__device__ __forceinline__ void multiply_tile(float (&sums)[Shape::kTilesDown][Shape::kTilesAcross][4],
                                              const uint32_t* grad, const uint32_t* halo, const int* table, int depth,
                                              int pitch, const int (&columns)[Shape::kTilesAcross]) {
  const int lane = threadIdx.x % 32;
  grad += lane / 4 * pitch + lane % 4;
  table += lane % 4;
  for (int k = 0; k < depth; k += kStep, grad += kStep, table += kStep) {
    uint32_t a[Shape::kTilesDown][4];
#pragma unroll
    for (int i = 0; i < Shape::kTilesDown; ++i) {
      a[i][0] = Words<T>::operand(grad[i * 16 * pitch]);
      a[i][1] = Words<T>::operand(grad[(i * 16 + 8) * pitch]);
      a[i][2] = Words<T>::operand(grad[i * 16 * pitch + 4]);
      a[i][3] = Words<T>::operand(grad[(i * 16 + 8) * pitch + 4]);
    }
    const uint32_t *upper = halo + table[0], *lower = halo + table[4];
#pragma unroll
    for (int j = 0; j < Shape::kTilesAcross; ++j) {
      const uint32_t b[2] = {Words<T>::operand(upper[columns[j]]), Words<T>::operand(lower[columns[j]])};
#pragma unroll
      for (int i = 0; i < Shape::kTilesDown; ++i) multiply_add<T>(sums[i][j], a[i], b);
    }
  }
}

// Sums over the pixels of each row of grad, lane by lane: warp w has the rows w, w + kWarps, ...
template <typename T, typename Shape>
struct RowSums {
  static constexpr int kRows = Shape::kRows / Shape::kWarps;
  float of[kRows] = {};

  __device__ __forceinline__ void add(const uint32_t* grad, int depth, int pitch) {
    grad += threadIdx.x / 32 * pitch;
    for (int k = threadIdx.x % 32; k < depth; k += 32) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const uint32_t word = grad[i * Shape::kWarps * pitch + k];
        of[i] += Words<T>::low(word) + Words<T>::high(word);
      }
    }
  }

  // Over the lanes too, through `shared`, which holds kRows x 33 floats.
  __device__ __forceinline__ float total(float* shared) const {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kRows; ++i) shared[(warp + i * Shape::kWarps) * 33 + lane] = of[i];
    __syncthreads();
    float sum = 0.0f;
    if (threadIdx.x >= Shape::kRows) return sum;
    for (int i = 0; i < 32; ++i) sum += shared[threadIdx.x * 33 + i];
    return sum;
  }
};

template <typename T, typename Shape>
__device__ __forceinline__ void store_sums(const float (&sums)[Shape::kTilesDown][Shape::kTilesAcross][4],
                                           const ProductBlock& block, const Parts& parts, const Accumulation& problem) {
  const int lane = threadIdx.x % 32, first_row = block.first_row + lane / 4;
  const int first_column = block.first_column + threadIdx.x / 32 * Shape::kTilesAcross * 8 + lane % 4 * 2;
  const int columns = problem.in_channels * problem.row.kernel * problem.column.kernel;
  const int64_t first_channel = (block.set * problem.groups + block.group) * problem.out_channels;
#pragma unroll
  for (int i = 0; i < 2 * Shape::kTilesDown; ++i) {
    const int row = first_row + i * 8;
    if (row >= problem.out_channels) break;
#pragma unroll
    for (int j = 0; j < 2 * Shape::kTilesAcross; ++j) {
      const int column = first_column + j / 2 * 8 + j % 2;
      if (column >= columns) break;
      parts.store<T>(block.part, (first_channel + row) * columns + column, sums[i / 2][j / 2][i % 2 * 2 + j % 2]);
    }
  }
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 2)
    accumulate_tensor_kernel(const __grid_constant__ Accumulation problem, const __grid_constant__ ProductPlan plan,
                      const __grid_constant__ Parts parts) {
  int* table = reinterpret_cast<int*>(shared_memory());
  uint32_t* stages = reinterpret_cast<uint32_t*>(table + plan.depth);
  for (int k = threadIdx.x; k < plan.depth; k += Shape::kThreads) {
    const WordPlace place(k, plan.tile.area, plan.tile.width);
    const int row = place.sample * plan.tile.halo_rows + place.row * problem.row.step;
    table[k] = k < plan.tile.words() ? row * plan.tile.halo_columns + place.column * problem.column.step : 0;
  }
  for (int64_t index = blockIdx.x; index < plan.count; index += gridDim.x) {
    const ProductBlock block(index, plan, Shape::kRows, Shape::kColumns, parts.count, problem);
    const int all_columns = problem.in_channels * problem.row.kernel * problem.column.kernel;
    const int first_column = block.first_column + threadIdx.x / 32 * Shape::kTilesAcross * 8;
    int columns[Shape::kTilesAcross];
#pragma unroll
    for (int j = 0; j < Shape::kTilesAcross; ++j) {
      const int column = first_column + j * 8 + threadIdx.x % 32 / 4, area = problem.row.kernel * problem.column.kernel;
      const int channel = column / area, entry = column - channel * area, i = entry / problem.column.kernel;
      const int place = i * problem.row.dilation * plan.tile.halo_columns +
                        (entry - i * problem.column.kernel) * problem.column.dilation;
      columns[j] = column < all_columns ? (channel - block.first_channel) * plan.tile.plane + place : 0;
    }
    const auto load_stage = [&](int64_t index, int stage) {
      uint32_t* grad = stages + stage * plan.stage_words;
      const ProductTile tile(index, plan.tile);
      load_grad<T>(grad, Shape::kRows, tile, block, plan, problem);
      load_input<T>(grad + plan.grad_words, tile, block, plan, problem);
      cp_async_commit();
    };

    float sums[Shape::kTilesDown][Shape::kTilesAcross][4] = {};
    RowSums<T, Shape> row_sums;
    const bool sums_rows = problem.bias_gradient != nullptr && block.first_column == 0;
    int stage = 0;
    if (block.first_tile < block.last_tile) load_stage(block.first_tile, stage);
    for (int64_t tile = block.first_tile; tile < block.last_tile; ++tile, stage ^= 1) {
      cp_async_wait<0>();
      __syncthreads();
      if (tile + 1 < block.last_tile) load_stage(tile + 1, stage ^ 1);
      const uint32_t* grad = stages + stage * plan.stage_words;
      if (first_column < all_columns) {
        multiply_tile<T, Shape>(sums, grad, grad + plan.grad_words, table, plan.depth, plan.grad_pitch, columns);
      }
      if (sums_rows) row_sums.add(grad, plan.depth, plan.grad_pitch);
    }
    store_sums<T, Shape>(sums, block, parts, problem);
    __syncthreads();
    if (!sums_rows) continue;
    const float sum = row_sums.total(reinterpret_cast<float*>(stages));
    const int row = block.first_row + threadIdx.x;
    if (threadIdx.x < Shape::kRows && row < problem.out_channels) {
      parts.store_bias<T>(block.part, (block.set * problem.groups + block.group) * problem.out_channels + row, sum);
    }
    __syncthreads();
  }
}

template <typename T, typename Shape>
bool launch_product(const Accumulation& problem, const Parts& parts, int shared_limit, Stream stream) {
  const ProductPlan plan =
      plan_product(problem, Words<T>::kPack, Shape::kRows, Shape::kColumns, parts.count, shared_limit);
  if (plan.count == 0) return false;
  const auto blocks = static_cast<unsigned>(plan.count < kLargestInt ? plan.count : kLargestInt);
  launch(accumulate_tensor_kernel<T, Shape>, dim3(blocks), dim3(Shape::kThreads), plan.shared_bytes(), stream, problem, plan,
         parts);
  return true;
}

// False where no tile fits into shared memory: then the work is for accumulate_simt.
template <typename T>
bool launch_accumulate_tensor(const Accumulation& problem, const Parts& parts, ProductKind kind, int shared_limit,
                       Stream stream) {
  switch (kind) {
    case ProductKind::flat: return launch_product<T, ProductFlat>(problem, parts, shared_limit, stream);
    case ProductKind::medium: return launch_product<T, ProductMedium>(problem, parts, shared_limit, stream);
    case ProductKind::narrow: return launch_product<T, ProductNarrow>(problem, parts, shared_limit, stream);
    default: return launch_product<T, ProductLarge>(problem, parts, shared_limit, stream);
  }
}

}  // namespace hyperconv

// Accumulation by gathering: every dtype, shape and stride.
//
// In one group of one weight set it is a matrix product, grad (out_channels, pixels) x patches (pixels, columns),
// where a column is an input channel and a kernel entry, and the pixels are those of all samples of the set, cut
// into parts. Each part's sums go to memory of their own, added up in order by `sum_parts`.

#pragma once

#include <type_traits>

#include "parts.cuh"

namespace hyperconv {

constexpr int kPixelDepth = 32;

template <int Rows, int Columns, int ThreadRows, int ThreadColumns>
struct GatherProduct {
  static constexpr int kRows = Rows, kColumns = Columns;
  static constexpr int kThreadRows = ThreadRows, kThreadColumns = ThreadColumns;
  static constexpr int kThreadsAcross = Columns / ThreadColumns;
  static constexpr int kThreads = kThreadsAcross * (Rows / ThreadRows);
};
using GatherSquare = GatherProduct<64, 64, 4, 4>;
template <typename S>  // doubles of 256 columns would not fit into static shared memory
using GatherFlat = std::conditional_t<sizeof(S) == 8, GatherProduct<4, 128, 2, 1>, GatherProduct<4, 256, 4, 1>>;

struct GatherProductTiling {
  int64_t count;
  int row_tiles, column_tiles;
  int64_t pixels, pixels_per_part;  // of a set
};

struct GatherProductTile {
  int64_t set;
  int part, group, first_row, first_column;

  __device__ GatherProductTile(int64_t index, const GatherProductTiling& tiling, int rows, int columns, int parts,
                             const Accumulation& problem) {
    first_column = static_cast<int>(index % tiling.column_tiles) * columns;
    index /= tiling.column_tiles;
    first_row = static_cast<int>(index % tiling.row_tiles) * rows;
    index /= tiling.row_tiles;
    part = static_cast<int>(index % parts);
    index /= parts;
    group = static_cast<int>(index % problem.groups);
    set = index / problem.groups;
  }
};

// One column: an input channel and a kernel entry.
template <typename Index>
struct GatherColumn {
  Index offset;
  int dy, dx;
  bool inside;

  __device__ GatherColumn(int column, const Accumulation& problem) {
    const int area = problem.row.kernel * problem.column.kernel;
    const int channel = column / area, entry = column - channel * area;
    inside = channel < problem.in_channels;
    dy = entry / problem.column.kernel * problem.row.dilation;
    dx = entry % problem.column.kernel * problem.column.dilation;
    offset = static_cast<Index>(channel * problem.input.stride[1] + dy * problem.input.stride[2] +
                                dx * problem.input.stride[3]);
  }
};

template <typename S, typename Shape, typename Index>
struct GatherFactors {
  S grad[kPixelDepth][Shape::kRows + 1];
  S patches[kPixelDepth][Shape::kColumns + 1];
  alignas(16) char columns[Shape::kColumns][sizeof(GatherColumn<Index>)];

  __device__ GatherColumn<Index>& column(int index) { return reinterpret_cast<GatherColumn<Index>&>(columns[index]); }
};

// Gathers both factors at this thread's pixel; zero beyond the end of the part.
template <typename T, typename Shape, typename Index>
__device__ __forceinline__ void stage_factors(GatherFactors<sum_t<T>, Shape, Index>& factors, int64_t pixel,
                                              int64_t end, const GatherProductTile& tile,
                                              const Accumulation& problem) {
  using S = sum_t<T>;
  const int depth = threadIdx.x % kPixelDepth, first = threadIdx.x / kPixelDepth;
  constexpr int kStep = Shape::kThreads / kPixelDepth;
  const int64_t row_pixels = problem.column.destination, sample_pixels = problem.row.destination * row_pixels;
  const int64_t shared = pixel / sample_pixels, rest = pixel - shared * sample_pixels;
  const int64_t sample = tile.set * problem.samples_per_set + shared;
  const int y = static_cast<int>(rest / row_pixels), x = static_cast<int>(rest - y * row_pixels);
  const S slope = static_cast<S>(problem.negative_slope);
  const auto at = [&](const Image& image, int64_t channel, int64_t row, int64_t column) {
    return static_cast<const T*>(image.data) + sample * image.stride[0] + channel * image.stride[1] +
           row * image.stride[2] + column * image.stride[3];
  };
  const int64_t first_channel = static_cast<int64_t>(tile.group) * problem.out_channels + tile.first_row;
  for (int row = first; row < Shape::kRows; row += kStep) {
    S value = S(0);
    if (pixel < end && tile.first_row + row < problem.out_channels) {
      value = static_cast<S>(*at(problem.grad, first_channel + row, y, x));
      if (problem.mask.data != nullptr) {
        value = apply_mask(value, *at(problem.mask, first_channel + row, y, x), slope);
      }
    }
    factors.grad[depth][row] = value;
  }
  const int corner_y = y * problem.row.step - problem.row.padding;
  const int corner_x = x * problem.column.step - problem.column.padding;
  const T* corner = at(problem.input, static_cast<int64_t>(tile.group) * problem.in_channels, corner_y, corner_x);
  for (int index = first; index < Shape::kColumns; index += kStep) {
    const GatherColumn<Index>& column = factors.column(index);
    const int v = corner_y + column.dy, u = corner_x + column.dx;
    const bool inside = pixel < end && column.inside && 0 <= v && v < problem.row.source && 0 <= u &&
                        u < problem.column.source;
    factors.patches[depth][index] = inside ? static_cast<S>(corner[column.offset]) : S(0);
  }
}

template <typename S, typename Shape, typename Index>
__device__ __forceinline__ void multiply(const GatherFactors<S, Shape, Index>& factors,
                                         S (&sums)[Shape::kThreadRows][Shape::kThreadColumns]) {
  const int row = threadIdx.x / Shape::kThreadsAcross * Shape::kThreadRows;
  const int column = threadIdx.x % Shape::kThreadsAcross;
#pragma unroll 8
  for (int depth = 0; depth < kPixelDepth; ++depth) {
#pragma unroll
    for (int j = 0; j < Shape::kThreadColumns; ++j) {
      const S patch = factors.patches[depth][column + j * Shape::kThreadsAcross];
#pragma unroll
      for (int i = 0; i < Shape::kThreadRows; ++i) sums[i][j] += factors.grad[depth][row + i] * patch;
    }
  }
}

template <typename T, typename Shape, typename Index>
__global__ void __launch_bounds__(Shape::kThreads, 2)
    accumulate_gather_kernel(const __grid_constant__ Accumulation problem,
                             const __grid_constant__ GatherProductTiling tiling,
                             const __grid_constant__ Parts parts) {
  using S = sum_t<T>;
  auto& factors = shared_object<GatherFactors<S, Shape, Index>>();
  for (int64_t index = blockIdx.x; index < tiling.count; index += gridDim.x) {
    const GatherProductTile tile(index, tiling, Shape::kRows, Shape::kColumns, parts.count, problem);
    __syncthreads();
    for (int column = threadIdx.x; column < Shape::kColumns; column += Shape::kThreads) {
      factors.column(column) = GatherColumn<Index>(tile.first_column + column, problem);
    }
    S sums[Shape::kThreadRows][Shape::kThreadColumns] = {};
    S row_sum = S(0);
    const bool sums_rows = problem.bias_gradient != nullptr && tile.first_column == 0 && threadIdx.x < Shape::kRows;
    const int64_t begin = tile.part * tiling.pixels_per_part;
    const int64_t end = begin + tiling.pixels_per_part < tiling.pixels ? begin + tiling.pixels_per_part : tiling.pixels;
    for (int64_t first = begin; first < end; first += kPixelDepth) {
      __syncthreads();
      stage_factors<T, Shape, Index>(factors, first + threadIdx.x % kPixelDepth, end, tile, problem);
      __syncthreads();
      multiply<S, Shape, Index>(factors, sums);
      if (!sums_rows) continue;
      for (int depth = 0; depth < kPixelDepth; ++depth) row_sum += factors.grad[depth][threadIdx.x];
    }
    const int columns = problem.in_channels * problem.row.kernel * problem.column.kernel;
    const int64_t first_channel = (tile.set * problem.groups + tile.group) * problem.out_channels;
    const int first_row = tile.first_row + threadIdx.x / Shape::kThreadsAcross * Shape::kThreadRows;
    const int first_column = tile.first_column + threadIdx.x % Shape::kThreadsAcross;
#pragma unroll
    for (int i = 0; i < Shape::kThreadRows; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kThreadColumns; ++j) {
        const int row = first_row + i, column = first_column + j * Shape::kThreadsAcross;
        if (row >= problem.out_channels || column >= columns) continue;
        parts.store<T>(tile.part, (first_channel + row) * columns + column, sums[i][j]);
      }
    }
    const int row = tile.first_row + threadIdx.x;
    if (sums_rows && row < problem.out_channels) parts.store_bias<T>(tile.part, first_channel + row, row_sum);
  }
}

template <typename T, typename Shape, typename Index>
void launch_product(const Accumulation& problem, const Parts& parts, Stream stream) {
  const int columns = problem.in_channels * problem.row.kernel * problem.column.kernel;
  GatherProductTiling tiling{};
  tiling.row_tiles = static_cast<int>(divide_up(problem.out_channels, Shape::kRows));
  tiling.column_tiles = static_cast<int>(divide_up(columns, Shape::kColumns));
  tiling.pixels = static_cast<int64_t>(problem.row.destination) * problem.column.destination * problem.samples_per_set;
  tiling.pixels_per_part = divide_up(tiling.pixels, parts.count);
  tiling.count = problem.sets * problem.groups * parts.count * tiling.row_tiles * tiling.column_tiles;
  const auto blocks = static_cast<unsigned>(tiling.count < kLargestInt ? tiling.count : kLargestInt);
  launch(accumulate_gather_kernel<T, Shape, Index>, dim3(blocks), dim3(Shape::kThreads), 0, stream, problem,
         tiling, parts);
}

template <typename T>
void launch_accumulate_gather(const Accumulation& problem, const Parts& parts, bool in_int, Stream stream) {
  if (!in_int) {
    launch_product<T, GatherSquare, int64_t>(problem, parts, stream);
  } else if (problem.out_channels <= GatherFlat<sum_t<T>>::kRows) {
    launch_product<T, GatherFlat<sum_t<T>>, int>(problem, parts, stream);
  } else {
    launch_product<T, GatherSquare, int>(problem, parts, stream);
  }
}

}  // namespace hyperconv

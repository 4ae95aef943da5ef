// Correlation on tiles: on tensor cores (float32 as TF32, bfloat16, float16), or in float32 as it is.
//
// In one group of one weight set it is a matrix product, source (pixels, taps) x weight (taps, out_channels), where
// a tap is a word of channels (Words) and a kernel entry. Nothing is gathered: a block keeps the halo of its pixel
// tile in shared memory, once, as [channel word][pixel], and a tap of a pixel is the sum of two offsets in it, one
// of the tap (a table in shared memory) and one of the pixel (in registers). The taps go by in chunks of a few
// channel words; while one chunk is multiplied, the next is on its way into the other stage. A block takes several
// tiles of the same weights, and keeps these in shared memory where they fit.

#pragma once

#include "correlate_products.cuh"
#include "correlate_stage.cuh"

namespace hyperconv {

// The offsets in the halo of this lane's pixels.
template <typename Product>
__device__ __forceinline__ void place_pixels(int (&places)[Product::kLanePixels], const PixelTile& tile,
                                             const Correlation& problem) {
#pragma unroll
  for (int i = 0; i < Product::kLanePixels; ++i) {
    const WordPlace place(Product::pixel(i), tile.area, tile.width);
    const int row = place.sample * tile.halo_rows + place.row * problem.row.step;
    places[i] = Product::pixel(i) < tile.words() ? row * tile.halo_columns + place.column * problem.column.step : 0;
  }
}

// The sums of a tile begin with the bias.
template <typename Product>
__device__ __forceinline__ void begin(Product& product, const TileBlock& block, const Correlation& problem) {
  using T = typename Product::Element;
  const T* bias = static_cast<const T*>(problem.bias);
  const int64_t first = static_cast<int64_t>(block.group) * problem.out_channels + block.first_out;
#pragma unroll
  for (int j = 0; j < Product::kLaneOuts; ++j) {
    const int out = Product::out(j);
    const bool present = bias != nullptr && block.first_out + out < problem.out_channels;
    const int64_t offset = block.set * problem.bias_set_stride + (first + out) * problem.bias_stride;
    const float value = present ? static_cast<float>(bias[offset]) : 0.0f;
#pragma unroll
    for (int i = 0; i < Product::kLanePixels; ++i) product.at(i, j) = value;
  }
}

// Applies the activation and the mask, and writes the tile's values that exist.
template <typename Product>
__device__ __forceinline__ void store_tile(Product& product, const TileStart& tile, const TileBlock& block,
                                           const CorrelatePlan& plan, const Correlation& problem) {
  using T = typename Product::Element;
  const float slope = static_cast<float>(problem.negative_slope);
  const int64_t first_channel = static_cast<int64_t>(block.group) * problem.out_channels + block.first_out;
#pragma unroll
  for (int i = 0; i < Product::kLanePixels; ++i) {
    const WordPlace place(Product::pixel(i), plan.tile.area, plan.tile.width);
    const int64_t shared = tile.sample + place.sample;
    if (place.sample >= plan.tile.samples || shared >= problem.samples_per_set) continue;
    if (tile.y + place.row >= block.rows.outputs || tile.x + place.column >= block.columns.outputs) continue;
    const int64_t sample = block.set * problem.samples_per_set + shared;
    const int64_t y = block.row_phase + static_cast<int64_t>(tile.y + place.row) * problem.row.spacing;
    const int64_t x = block.column_phase + static_cast<int64_t>(tile.x + place.column) * problem.column.spacing;
    const auto at = [&](const Image& image) {
      return static_cast<T*>(image.data) + sample * image.stride[0] + first_channel * image.stride[1] +
             y * image.stride[2] + x * image.stride[3];
    };
    T* target = at(problem.destination);
    const T* mask = problem.destination_mask.data == nullptr ? nullptr : at(problem.destination_mask);
#pragma unroll
    for (int j = 0; j < Product::kLaneOuts; ++j) {
      const int out = Product::out(j);
      if (block.first_out + out >= problem.out_channels) continue;
      float value = activate(product.at(i, j), problem.activation, slope);
      if (mask != nullptr) value = apply_mask(value, mask[out * problem.destination_mask.stride[1]], slope);
      target[out * problem.destination.stride[1]] = static_cast<T>(value);
    }
  }
}

template <typename Product>
__global__ void __launch_bounds__(Product::kThreads, Product::kBlocks)
    correlate_tile_kernel(const __grid_constant__ Correlation problem, const __grid_constant__ CorrelatePlan plan) {
  using T = typename Product::Element;
  const ChunkTables tables(shared_memory(), plan.depth);
  uint32_t* resident = reinterpret_cast<uint32_t*>(shared_memory()) + 3 * plan.depth;
  uint32_t* stages = resident + plan.resident_words;
  int places[Product::kLanePixels];
  place_pixels<Product>(places, plan.tile, problem);

  for (int64_t index = blockIdx.x; index < plan.count; index += gridDim.x) {
    const TileBlock block(index, plan, Product::kOuts, problem);
    const int depth = (plan.chunk_words * block.taps() + kStep - 1) / kStep * kStep;
    ChunkTables(tables).template fill<T>(depth, block, plan, problem);
    __syncthreads();
    if (plan.resident_words > 0) {
      for (int chunk = 0; chunk < plan.chunks; ++chunk) {
        load_weights<T>(resident + chunk * plan.depth, depth, chunk, Product::kOuts, tables, block, plan, problem);
      }
    }
    const auto load_stage = [&](int64_t tile, int chunk, int stage) {
      uint32_t* halo = stages + stage * plan.stage_words;
      load_halo<T>(halo, chunk, TileStart(tile, plan.tile), block, plan, problem);
      uint32_t* weights = halo + plan.staged_words * plan.tile.plane;
      if (plan.resident_words == 0) {
        load_weights<T>(weights, depth, chunk, Product::kOuts, tables, block, plan, problem);
      }
      cp_async_commit();
    };

    int stage = 0;
    load_stage(block.first_tile, 0, stage);
    for (int64_t tile = block.first_tile; tile < block.last_tile; ++tile) {
      Product product;
      begin(product, block, problem);
      for (int chunk = 0; chunk < plan.chunks; ++chunk, stage ^= 1) {
        cp_async_wait<0>();
        __syncthreads();
        const bool last = chunk + 1 == plan.chunks;
        if (!last || tile + 1 < block.last_tile) load_stage(last ? tile + 1 : tile, last ? 0 : chunk + 1, stage ^ 1);
        const uint32_t* halo = stages + stage * plan.stage_words;
        const uint32_t* weights = plan.resident_words > 0 ? resident + chunk * plan.depth
                                                          : halo + plan.staged_words * plan.tile.plane;
        product.multiply({halo, weights, tables.place, depth, plan.weight_pitch}, places);
      }
      store_tile(product, TileStart(tile, plan.tile), block, plan, problem);
    }
    __syncthreads();
  }
}

template <typename Product>
bool launch_tiles(const Correlation& problem, const Limits& limits, Stream stream) {
  constexpr int kPack = Words<typename Product::Element>::kPack;
  CorrelatePlan plan = plan_correlation(problem, kPack, Product::kPixels, Product::kOuts, limits);
  if (plan.count == 0) return false;
  plan.vectors = loads_vectors(problem, plan, sizeof(typename Product::Element));
  const auto blocks = static_cast<unsigned>(plan.count < kLargestInt ? plan.count : kLargestInt);
  launch(correlate_tile_kernel<Product>, dim3(blocks), dim3(Product::kThreads), plan.shared_bytes(), stream, problem,
         plan);
  return true;
}

template <typename T>
bool correlate_on_tensor_cores(const Correlation& problem, const Limits& limits, Stream stream) {
  switch (tile_shape(problem, limits)) {
    case TileShape::thin: return launch_tiles<TensorProduct<T, 2, 1, 4, 1>>(problem, limits, stream);
    case TileShape::medium: return launch_tiles<TensorProduct<T, 2, 4, 4, 1>>(problem, limits, stream);
    case TileShape::small: return launch_tiles<TensorProduct<T, 2, 4, 2, 2>>(problem, limits, stream);
    default: return launch_tiles<TensorProduct<T, 4, 8, 4, 1>>(problem, limits, stream);
  }
}

inline bool correlate_in_float32(const Correlation& problem, const Limits& limits, Stream stream) {
  switch (tile_shape(problem, limits)) {
    case TileShape::thin: return launch_tiles<PlainProduct<32, 4, 4, 2, 1>>(problem, limits, stream);
    case TileShape::medium: return launch_tiles<PlainProduct<8, 8, 8, 4, 1>>(problem, limits, stream);
    case TileShape::small: return launch_tiles<PlainProduct<8, 4, 8, 2, 2>>(problem, limits, stream);
    default: return launch_tiles<PlainProduct<8, 8, 8, 2, 2>>(problem, limits, stream);
  }
}

}  // namespace hyperconv

// What a block of correlation on tiles (correlate_tile.cuh) works on, and how it comes into shared memory: the weights
// of a chunk of taps, and the halo of a tile.

#pragma once

#include "correlate_plan.h"
#include "words.cuh"

namespace hyperconv {

// Where one block works.
struct TileBlock {
  int64_t set, first_tile;  // tiles [first_tile, last_tile)
  int64_t last_tile;
  int group, first_out, row_phase, column_phase;
  Taps rows, columns;
  int row_origin, column_origin;  // of the halo of the tile at (0, 0)

  __device__ TileBlock(int64_t index, const CorrelatePlan& plan, int outs, const Correlation& problem) {
    first_tile = index % plan.tile_runs * plan.tiles_per_block;
    index /= plan.tile_runs;
    last_tile = first_tile + plan.tiles_per_block < plan.tiles ? first_tile + plan.tiles_per_block : plan.tiles;
    column_phase = static_cast<int>(index % problem.column.phases);
    index /= problem.column.phases;
    row_phase = static_cast<int>(index % problem.row.phases);
    index /= problem.row.phases;
    first_out = static_cast<int>(index % plan.out_tiles) * outs;
    index /= plan.out_tiles;
    group = static_cast<int>(index % problem.groups);
    set = index / problem.groups;
    rows = problem.row.taps(row_phase);
    columns = problem.column.taps(column_phase);
    row_origin = origin(rows, problem.row);
    column_origin = origin(columns, problem.column);
  }

  __device__ int taps() const { return rows.count * columns.count; }

  // The place in the halo, relative to its first position, of tap j.
  static __device__ int place(const Taps& taps, const Axis& axis, int j) {
    return axis.tap_step < 0 ? (taps.count - 1 - j) * -axis.tap_step : j * axis.tap_step;
  }

 private:
  static __device__ int origin(const Taps& taps, const Axis& axis) {
    return taps.offset + (axis.tap_step < 0 && taps.count > 1 ? (taps.count - 1) * axis.tap_step : 0);
  }
};

// What the words of a chunk mean, the same for every chunk; tables in shared memory, indexed by k < depth.
struct ChunkTables {
  int* place;    // offset of the tap in the halo
  int* weight;   // offset of the tap in the weights, from the chunk's first channel on
  int* channel;  // channel word in the chunk

  __device__ ChunkTables(char* shared, int depth) : place(reinterpret_cast<int*>(shared)) {
    weight = place + depth;
    channel = weight + depth;
  }

  // Words beyond the chunk's taps fill the last step: their weights are zero, and they meet a plane of zeros.
  template <typename T>
  __device__ void fill(int depth, const TileBlock& block, const CorrelatePlan& plan, const Correlation& problem) {
    const int taps = block.taps();
    for (int k = threadIdx.x; k < depth; k += blockDim.x) {
      const int word = k / taps, entry = k - word * taps;
      const int i = entry / block.columns.count, j = entry - i * block.columns.count;
      const bool inside = word < plan.chunk_words;
      channel[k] = inside ? word : problem.in_channels;
      place[k] = plan.chunk_words * plan.tile.plane;
      weight[k] = 0;
      if (!inside) continue;
      place[k] = word * plan.tile.plane + block.place(block.rows, problem.row, i) * plan.tile.halo_columns +
                 block.place(block.columns, problem.column, j);
      const int64_t row = block.rows.first_entry + i * problem.row.entry_step;
      const int64_t column = block.columns.first_entry + j * problem.column.entry_step;
      weight[k] = static_cast<int>(word * Words<T>::kPack * problem.weight_in_stride +
                                   row * problem.weight_entry_stride[0] + column * problem.weight_entry_stride[1]);
    }
  }
};

// Weights of one chunk into [out channel][k].
template <typename T>
__device__ __forceinline__ void load_weights(uint32_t* target, int depth, int chunk, int outs,
                                             const ChunkTables& tables, const TileBlock& block,
                                             const CorrelatePlan& plan, const Correlation& problem) {
  constexpr int kPack = Words<T>::kPack;
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const int first_channel = chunk * plan.chunk_words * kPack;
  const T* weights = static_cast<const T*>(problem.weight) + block.set * problem.weight_set_stride +
                     block.group * problem.weight_group_stride + block.first_out * problem.weight_out_stride +
                     first_channel * problem.weight_in_stride;
  for (int k = threadIdx.x % 32; k < depth; k += 32) {
    const int channel = first_channel + tables.channel[k] * kPack;
    const T* tap = weights + tables.weight[k];
#pragma unroll 4
    for (int out = warp; out < outs; out += warps) {
      const bool inside = channel < problem.in_channels && block.first_out + out < problem.out_channels;
      const T* entry = tap + out * problem.weight_out_stride;
      uint32_t* word = target + out * plan.weight_pitch + k;
      if constexpr (kPack == 1) {
        cp_async(word, inside ? entry : weights, inside);
      } else {
        const bool second = inside && channel + 1 < problem.in_channels;
        *word = Words<T>::pack(inside ? *entry : T(0.0f), second ? entry[problem.weight_in_stride] : T(0.0f));
      }
    }
  }
}

// One pixel's channels where they lie side by side and aligned (channels_last): four words at a time. `left` words of
// them exist; the rest is zero.
template <typename T>
__device__ __forceinline__ void load_vectors(uint32_t* target, const T* source, const T* mask, int left,
                                             const CorrelatePlan& plan, float slope) {
  constexpr int kPack = Words<T>::kPack;
  const uint4 zero{0, 0, 0, 0};
#pragma unroll 2
  for (int index = 0; index < plan.staged_words; index += 4) {
    const bool present = index < plan.chunk_words && index < left;
    const uint4 four = present ? *reinterpret_cast<const uint4*>(source + index * kPack) : zero;
    uint32_t words[4] = {four.x, four.y, four.z, four.w};
    if (mask != nullptr) {
      const uint4 signs = present ? *reinterpret_cast<const uint4*>(mask + index * kPack) : zero;
      const uint32_t bits[4] = {signs.x, signs.y, signs.z, signs.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float low = apply_mask(Words<T>::low(words[i]), Words<T>::low(bits[i]), slope);
        const float high = apply_mask(Words<T>::high(words[i]), Words<T>::high(bits[i]), slope);
        words[i] = Words<T>::pack(T(low), T(high));
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (index + i < plan.staged_words) target[(index + i) * plan.tile.plane] = words[i];
    }
  }
}

// The halo of one tile, one chunk of its channels, into [channel word][pixel]; zero outside the image.
template <typename T>
__device__ __forceinline__ void load_halo(uint32_t* target, int chunk, const TileStart& tile, const TileBlock& block,
                                          const CorrelatePlan& plan, const Correlation& problem) {
  constexpr int kPack = Words<T>::kPack;
  const PixelTile& shape = plan.tile;
  const int first_y = tile.y * problem.row.step + block.row_origin;
  const int first_x = tile.x * problem.column.step + block.column_origin;
  const int first_channel = chunk * plan.chunk_words * kPack;
  const int group_channel = block.group * problem.in_channels;
  const float slope = static_cast<float>(problem.negative_slope);
  for (int position = threadIdx.x; position < shape.halo_words(); position += blockDim.x) {
    const WordPlace place(position, shape.halo_area, shape.halo_width);
    const int y = first_y + place.row, x = first_x + place.column;
    const int64_t sample = tile.sample + place.sample;
    const bool inside = sample < problem.samples_per_set && 0 <= y && y < problem.row.source && 0 <= x &&
                        x < problem.column.source;
    const auto at = [&](const Image& image) {
      const T* first = static_cast<const T*>(image.data);
      if (!inside || first == nullptr) return first;
      return first + (block.set * problem.samples_per_set + sample) * image.stride[0] +
             (group_channel + first_channel) * image.stride[1] + y * image.stride[2] + x * image.stride[3];
    };
    const T *source = at(problem.source), *mask = at(problem.source_mask);
    uint32_t* word = target + position;
    if (plan.vectors) {
      const int left = inside ? (problem.in_channels - first_channel) / kPack : 0;
      load_vectors<T>(word, source, mask, left, plan, slope);
      continue;
    }
    const int step = static_cast<int>(problem.source.stride[1]);
    const int mask_step = static_cast<int>(problem.source_mask.stride[1]);
#pragma unroll 4
    for (int index = 0; index < plan.staged_words; ++index, word += shape.plane) {
      const int channel = index * kPack;
      const bool present = inside && index < plan.chunk_words && first_channel + channel < problem.in_channels;
      if (kPack == 1 && mask == nullptr) {
        cp_async(word, present ? source + channel * step : source, present);
        continue;
      }
      const bool second = kPack == 2 && present && first_channel + channel + 1 < problem.in_channels;
      const T low = read(source, mask, channel * step, channel * mask_step, present, slope);
      const T high = read(source, mask, (channel + 1) * step, (channel + 1) * mask_step, second, slope);
      *word = Words<T>::pack(low, high);
    }
  }
}

}  // namespace hyperconv

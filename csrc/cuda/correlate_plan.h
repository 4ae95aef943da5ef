// How correlation on tiles is cut into blocks, and what a block keeps in shared memory.

#pragma once

#include "forced.h"
#include "pixel_tile.h"

namespace hyperconv {

struct CorrelatePlan {
  PixelTile tile;
  int chunk_words, chunks;   // channel words of one chunk
  int staged_words;          // planes of a stage: a plane of zeros follows where a chunk does not fill its last step
  int depth, weight_pitch;   // words of a chunk along the inner dimension; of one output channel's weights
  int resident_words, stage_words;  // of shared memory; no resident words: the weights are staged with the halo
  int out_tiles;
  bool vectors;  // the channels of a pixel are loaded 16 bytes at a time
  int64_t tiles, tiles_per_block, tile_runs, count;  // count == 0: it does not fit

  std::size_t shared_bytes() const {
    return sizeof(uint32_t) * (3 * static_cast<std::size_t>(depth) + resident_words + 2 * stage_words);
  }
};

constexpr int kBlocksPerMultiprocessor = 2;
constexpr int64_t kTilesPerBlock = 64;  // at most
constexpr int kStepWords = 8;
constexpr int kPlaneBanks = 24;  // four channel words x eight pixels, a fragment, then meet every bank once

inline int64_t blocks_at_once(const Limits& limits) { return kBlocksPerMultiprocessor * limits.multiprocessors; }

inline int round_to_step(int64_t words) { return static_cast<int>(divide_up(words, kStepWords) * kStepWords); }

// Fills in what a block keeps, with at most `words` channel words in a chunk; false where it exceeds the limit.
inline bool plan_chunks(CorrelatePlan& plan, int64_t channel_words, int64_t taps, int64_t words, int outs,
                        bool resident, int shared_limit) {
  plan.chunks = static_cast<int>(divide_up(channel_words, words));
  plan.chunk_words = static_cast<int>(divide_up(channel_words, plan.chunks));
  const int64_t used = plan.chunk_words * taps;
  if (used > kLargestHalo) return false;
  plan.depth = round_to_step(used);
  plan.staged_words = plan.chunk_words + (plan.chunk_words % kStepWords == 0 ? 0 : 1);
  // Four banks from one output channel to the next: a fragment of the weights then meets every bank once.
  const int64_t row = resident ? static_cast<int64_t>(plan.depth) * plan.chunks : plan.depth;
  if (row * outs > 2 * kLargestHalo || static_cast<int64_t>(plan.staged_words) * plan.tile.plane > 2 * kLargestHalo) {
    return false;
  }
  plan.weight_pitch = static_cast<int>(row) + 4;
  plan.resident_words = resident ? plan.weight_pitch * outs : 0;
  plan.stage_words = plan.staged_words * plan.tile.plane + (resident ? 0 : plan.weight_pitch * outs);
  return plan.shared_bytes() <= static_cast<std::size_t>(shared_limit);
}

// The most taps of any phase.
inline int64_t most_taps(const Axis& axis) {
  int64_t most = 0;
  for (int phase = 0; phase < axis.phases; ++phase) {
    const int64_t count = axis.taps(phase).count;
    most = count > most ? count : most;
  }
  return most;
}

inline CorrelatePlan plan_correlation(const Correlation& problem, int pack, int pixels, int outs,
                                      const Limits& limits) {
  CorrelatePlan plan{};
  plan.tile = choose_tile(problem.row, problem.column, problem.samples_per_set, pixels, 1, kPlaneBanks);
  if (plan.tile.samples == 0) return plan;
  const int64_t channel_words = divide_up(problem.in_channels, pack);
  const int64_t taps = most_taps(problem.row) * most_taps(problem.column);
  // About nine steps in a chunk; two blocks on a multiprocessor where that is possible.
  const int64_t wanted = taps >= 9 ? 8 : round_to_step(divide_up(72, taps > 0 ? taps : 1));
  bool fits = false;
  for (int blocks = 2; blocks >= 1 && !fits; --blocks) {
    const int limit = limits.shared_bytes / blocks - 1024;
    for (int64_t words = wanted; words >= 1 && !fits; words /= 2) {
      fits = plan_chunks(plan, channel_words, taps, words, outs, true, limit) ||
             plan_chunks(plan, channel_words, taps, words, outs, false, limit);
    }
  }
  if (!fits) return plan;
  plan.out_tiles = static_cast<int>(divide_up(problem.out_channels, outs));
  plan.tiles = plan.tile.count();
  const int64_t others = problem.sets * problem.groups * plan.out_tiles * problem.row.phases * problem.column.phases;
  // Blocks that all run at once, each with as many tiles as that takes: its weights are loaded once.
  const int64_t wanted_blocks = forced.blocks_wanted > 0 ? forced.blocks_wanted : blocks_at_once(limits);
  plan.tiles_per_block = divide_up(others * plan.tiles, wanted_blocks);
  if (plan.tiles_per_block > kTilesPerBlock) plan.tiles_per_block = kTilesPerBlock;
  if (plan.tiles_per_block > plan.tiles) plan.tiles_per_block = plan.tiles;
  plan.tile_runs = divide_up(plan.tiles, plan.tiles_per_block);
  plan.count = others * plan.tile_runs;
  return plan;
}

// Whether every chunk of the channels of every pixel of an image begins on 16 bytes.
inline bool has_aligned_channels(const Image& image, int64_t in_channels, int64_t chunk_channels, int64_t bytes) {
  if (image.data == nullptr) return true;
  if (image.stride[1] != 1 || reinterpret_cast<uintptr_t>(image.data) % 16 != 0) return false;
  for (const int64_t step : {image.stride[0], image.stride[2], image.stride[3], in_channels, chunk_channels}) {
    if (step * bytes % 16 != 0) return false;
  }
  return true;
}

inline bool loads_vectors(const Correlation& problem, const CorrelatePlan& plan, int64_t bytes) {
  const int64_t chunk = plan.chunk_words * (bytes == 2 ? 2 : 1);
  return has_aligned_channels(problem.source, problem.in_channels, chunk, bytes) &&
         has_aligned_channels(problem.source_mask, problem.in_channels, chunk, bytes);
}

// How many pixels and channels a block computes: 256 x 64, or with few channels 128 x 8 and 128 x 32. Where these leave
// multiprocessors idle, 128 x 32 or 64 x 64.
enum class TileShape { thin, medium, small, large };

inline TileShape tile_shape(const Correlation& problem, const Limits& limits) {
  if (forced.shape >= 0) return static_cast<TileShape>(forced.shape);
  if (problem.out_channels <= (problem.tf32 || problem.dtype != Dtype::float32 ? 8 : 4)) return TileShape::thin;
  if (problem.out_channels <= 32) return TileShape::medium;
  const int64_t pixels = static_cast<int64_t>(problem.row.destination) * problem.column.destination;
  const auto blocks = [&](int outs, int tile) {
    return problem.sets * problem.groups * divide_up(problem.out_channels, outs) *
           divide_up(pixels * problem.samples_per_set, tile);
  };
  if (blocks(64, 256) >= limits.multiprocessors) return TileShape::large;
  return blocks(32, 128) >= limits.multiprocessors ? TileShape::medium : TileShape::small;
}

}  // namespace hyperconv

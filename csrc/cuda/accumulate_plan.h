// How accumulation is cut into parts, and on tiles into blocks.

#pragma once

#include "forced.h"
#include "pixel_tile.h"

namespace hyperconv {

inline int64_t columns_of(const Accumulation& problem) {
  return static_cast<int64_t>(problem.in_channels) * problem.row.kernel * problem.column.kernel;
}

inline int64_t pixels_of(const Accumulation& problem) {
  return static_cast<int64_t>(problem.row.destination) * problem.column.destination * problem.samples_per_set;
}

// How many rows and columns a block computes: 64 x 288 (32 channels under 3 x 3 taps), or fewer where there are few.
enum class ProductShape { flat, medium, large, narrow };

inline ProductShape product_shape(const Accumulation& problem) {
  if (forced.shape >= 0) return static_cast<ProductShape>(forced.shape);
  if (problem.out_channels <= (problem.tf32 || problem.dtype != Dtype::float32 ? 16 : 4)) return ProductShape::flat;
  if (columns_of(problem) <= 128) return ProductShape::narrow;
  return problem.out_channels <= 32 ? ProductShape::medium : ProductShape::large;
}

constexpr int64_t kProductBlocksWanted = 264;  // two for each multiprocessor of the largest GPUs, about
constexpr int64_t kPixelsPerPart = 256;        // at least
constexpr int64_t kPartialBytes = int64_t{64} << 20;

// Independent sums of one result, a function of the problem alone.
inline int choose_parts(const Accumulation& problem) {
  if (forced.parts > 0) return forced.parts;
  const int64_t columns = columns_of(problem), values = problem.sets * problem.groups * problem.out_channels * columns;
  const int64_t blocks = problem.sets * problem.groups * divide_up(problem.out_channels, 64) *
                         divide_up(columns, 288);
  int64_t parts = divide_up(kProductBlocksWanted, blocks);
  const int64_t limits[] = {pixels_of(problem) / kPixelsPerPart, kPartialBytes / (8 * values)};
  for (const int64_t limit : limits) parts = limit < parts ? limit : parts;
  return static_cast<int>(parts > 1 ? parts : 1);
}

// The same for a bias gradient alone.
inline int choose_parts(const BiasSum& problem) {
  if (forced.parts > 0) return forced.parts;
  const int64_t pixels = static_cast<int64_t>(problem.height) * problem.width * problem.samples_per_set;
  int64_t parts = divide_up(4 * kProductBlocksWanted, problem.sets * problem.channels);
  parts = pixels / 4096 < parts ? pixels / 4096 : parts;
  return static_cast<int>(parts > 1 ? parts : 1);
}

struct ProductPlan {
  PixelTile tile;
  int depth, grad_pitch;      // words of a tile along the inner dimension; of one row of grad
  int staged_channels;        // of the input: those that the columns of one block belong to
  int grad_words, stage_words;  // of shared memory
  int row_tiles, column_tiles;
  int64_t tiles, tiles_per_part, count;  // count == 0: it does not fit

  std::size_t shared_bytes() const { return sizeof(uint32_t) * (static_cast<std::size_t>(depth) + 2 * stage_words); }
};

constexpr int kColumnBanks = 20;  // eight channels x four pixels, a fragment, then meet every bank once

// Fills in what a block keeps with tiles of at most `words` words; false where it exceeds the limit.
inline bool plan_stage(ProductPlan& plan, const Accumulation& problem, int pack, int rows, int columns, int words,
                       int shared_limit) {
  plan.tile = choose_tile(problem.row, problem.column, problem.samples_per_set, words, pack, kColumnBanks);
  if (plan.tile.samples == 0) return false;
  plan.depth = static_cast<int>(divide_up(plan.tile.words(), 8) * 8);
  plan.grad_pitch = plan.depth + 4;
  plan.grad_words = rows * plan.grad_pitch;
  const int64_t taps = static_cast<int64_t>(problem.row.kernel) * problem.column.kernel;
  const int64_t spanned = columns % taps == 0 ? columns / taps : (columns - 1) / taps + 2;
  plan.staged_channels = static_cast<int>(spanned < problem.in_channels ? spanned : problem.in_channels);
  const int64_t halo_words = static_cast<int64_t>(plan.staged_channels) * plan.tile.plane;
  if (halo_words > 2 * kLargestHalo) return false;
  plan.stage_words = plan.grad_words + static_cast<int>(halo_words);
  const int row_sums = (rows * 33 + 1) / 2;  // what adding up grad's rows in the end takes of each stage
  if (plan.stage_words < row_sums) plan.stage_words = row_sums;
  return plan.shared_bytes() <= static_cast<std::size_t>(shared_limit);
}

inline ProductPlan plan_product(const Accumulation& problem, int pack, int rows, int columns, int parts,
                                int shared_limit) {
  ProductPlan plan{};
  bool fits = false;
  for (int blocks = 2; blocks >= 1 && !fits; --blocks) {
    for (int words = 64; words >= 8 && !fits; words /= 2) {
      fits = plan_stage(plan, problem, pack, rows, columns, words, shared_limit / blocks - 1024);
    }
  }
  if (!fits) return plan;
  plan.row_tiles = static_cast<int>(divide_up(problem.out_channels, rows));
  plan.column_tiles = static_cast<int>(divide_up(columns_of(problem), columns));
  plan.tiles = plan.tile.count();
  plan.tiles_per_part = divide_up(plan.tiles, parts);
  plan.count = problem.sets * problem.groups * parts * plan.row_tiles * plan.column_tiles;
  return plan;
}

}  // namespace hyperconv

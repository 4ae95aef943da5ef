// How the kernels on tiles cut pixels into tiles, and the part of the source that a tile reads: its halo.
//
// A tile is `samples` x `rows` x `columns` words, at most as many as a block computes: one piece of one image, or
// several whole small images. In shared memory the halo of a channel is a plane, [sample][row][column].
//
// A word holds `stack` pixels. Where the inner dimension of the product is pixels (accumulation in 16 bits), two
// pixels of a word lie `rows` apart, so that moving by a tap moves whole words, in the halo too.

#pragma once

#include "problem.h"

namespace hyperconv {

struct PixelTile {
  int samples, rows, columns, stack;
  int halo_rows, halo_columns, plane;  // plane: words of one channel, padded
  int64_t sample_tiles;
  int row_tiles, column_tiles;
  Divisor area, width, halo_area, halo_width;

  int64_t count() const { return sample_tiles * row_tiles * column_tiles; }
  HYPERCONV_BOTH int words() const { return samples * rows * columns; }
  HYPERCONV_BOTH int halo_words() const { return samples * halo_rows * halo_columns; }
};

// Where one tile begins: its first sample among those of the set, and its first position.
struct TileStart {
  int64_t sample;
  int y, x;

  HYPERCONV_BOTH TileStart(int64_t index, const PixelTile& tile) {
    x = static_cast<int>(index % tile.column_tiles) * tile.columns;
    index /= tile.column_tiles;
    y = static_cast<int>(index % tile.row_tiles) * tile.rows * tile.stack;
    sample = index / tile.row_tiles * tile.samples;
  }
};

// Where word `index` of a plane lies: [sample][row][column].
struct WordPlace {
  int sample, row, column;

  HYPERCONV_BOTH WordPlace(int index, const Divisor& area, const Divisor& width) {
    sample = area.quotient(index);
    const int rest = index - sample * static_cast<int>(area.value);
    row = width.quotient(rest);
    column = rest - row * static_cast<int>(width.value);
  }
};

// What `outputs` neighbours of a destination read along one axis: (outputs - 1) * step + extent positions.
struct Reach {
  int64_t step, extent;

  explicit Reach(const Axis& axis) : step(axis.step), extent(1) {
    const int64_t tap_step = axis.tap_step < 0 ? -static_cast<int64_t>(axis.tap_step) : axis.tap_step;
    for (int phase = 0; phase < axis.phases; ++phase) {
      const int64_t reach = (axis.taps(phase).count - 1) * tap_step + 1;
      extent = reach > extent ? reach : extent;
    }
  }

  int64_t of(int64_t outputs) const { return (outputs - 1) * step + extent; }
};

constexpr int64_t kLargestHalo = 1 << 16;  // words: far more than shared memory holds

// The size of a plane of `words` that starts `banks` banks of shared memory after the one before it.
inline int64_t padded_plane(int64_t words, int banks) { return divide_up(words - banks, 32) * 32 + banks; }

// The cheapest tile of at most `words` words, its planes `banks` banks apart; samples == 0 where every halo is out
// of proportion.
inline PixelTile choose_tile(const Axis& row, const Axis& column, int64_t samples, int words, int stack,
                             int banks) {
  const Reach row_reach(row), column_reach(column);
  const int height = row.outputs(0), width = column.outputs(0);
  const int stacked = static_cast<int>(divide_up(height, stack));
  PixelTile best{};
  int64_t least = -1;
  const int widest = width < words ? width : words;
  for (int columns = 1; columns <= widest; ++columns) {
    if (columns > 1 && divide_up(width, columns) == divide_up(width, columns - 1)) continue;
    PixelTile tile{};
    tile.stack = stack;
    tile.columns = columns;
    tile.rows = words / columns < stacked ? words / columns : stacked;
    tile.row_tiles = static_cast<int>(divide_up(height, static_cast<int64_t>(tile.rows) * stack));
    tile.rows = static_cast<int>(divide_up(stacked, tile.row_tiles));
    tile.column_tiles = static_cast<int>(divide_up(width, columns));
    tile.samples = 1;
    if (tile.row_tiles == 1 && tile.column_tiles == 1) {
      const int64_t fitting = words / (tile.rows * columns);
      tile.samples = static_cast<int>(fitting < samples ? fitting : samples);
    }
    tile.sample_tiles = divide_up(samples, tile.samples);
    const int64_t halo_rows = row_reach.of(tile.rows), halo_columns = column_reach.of(columns);
    if (halo_rows > kLargestHalo || halo_columns > kLargestHalo) continue;
    if (tile.samples * halo_rows * halo_columns > kLargestHalo) continue;
    tile.halo_rows = static_cast<int>(halo_rows);
    tile.halo_columns = static_cast<int>(halo_columns);
    tile.plane = static_cast<int>(padded_plane(tile.halo_words(), banks));
    const int64_t cost = tile.count() * (2 * words + tile.halo_words());
    if (least >= 0 && cost >= least) continue;
    least = cost;
    best = tile;
  }
  if (least < 0) return best;
  best.area = Divisor(best.rows * best.columns);
  best.width = Divisor(best.columns);
  best.halo_area = Divisor(best.halo_rows * best.halo_columns);
  best.halo_width = Divisor(best.halo_columns);
  return best;
}

}  // namespace hyperconv

// Tiles in plain memory, for processors that have none of their own; a class with their product derives from it.
#pragma once

#include "tile.h"

namespace hyperconv::HYPERCONV_ISA {

class TilesInMemory {
 public:
  template <int tile>
  HYPERCONV_INLINE void load(const void* rows, int64_t stride_bytes) {
    for (int64_t row = 0; row < tile_side; ++row)
      __builtin_memcpy(tiles[tile].bytes + row * tile_row_bytes, static_cast<const char*>(rows) + row * stride_bytes,
                       tile_row_bytes);
  }
  template <int tile>
  HYPERCONV_INLINE void store(void* rows, int64_t stride_bytes) {
    for (int64_t row = 0; row < tile_side; ++row)
      __builtin_memcpy(static_cast<char*>(rows) + row * stride_bytes, tiles[tile].bytes + row * tile_row_bytes,
                       tile_row_bytes);
  }
  template <int tile>
  HYPERCONV_INLINE void zero() {
    tiles[tile] = Tile{};
  }

 protected:
  Tile tiles[8] = {};
};

}  // namespace hyperconv::HYPERCONV_ISA

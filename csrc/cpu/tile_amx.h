// Tiles of AMX.
#pragma once

#include "tile.h"

namespace hyperconv::HYPERCONV_ISA {

// The tiles of this thread, all of full size; given back at the end, so that no switch of threads has to save them.
// Assembly because compilers take the tile of their intrinsics as text, not as a template's argument.
class Tiles {
 public:
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.row_bytes[tile] = tile_row_bytes;
      shapes.rows[tile] = tile_side;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(shapes));
  }
  ~Tiles() { __asm__ volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;

  template <int tile>
  HYPERCONV_INLINE void load(const void* rows, int64_t stride_bytes) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride_bytes), "i"(tile) : "memory");
  }
  template <int tile>
  HYPERCONV_INLINE void store(void* rows, int64_t stride_bytes) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride_bytes), "i"(tile) : "memory");
  }
  template <int tile>
  HYPERCONV_INLINE void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  template <int sums, int rows, int pairs>
  HYPERCONV_INLINE void multiply() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(rows), "i"(pairs));
  }
};

}  // namespace hyperconv::HYPERCONV_ISA

// Matrix tiles of 16 rows of 64 bytes, and their one product: of pairs of bfloat16, added up in float32,
//     sums[m][n] += sum over k of rows[m][2k] * pairs[k][2n] + rows[m][2k + 1] * pairs[k][2n + 1].
//
// AMX has eight of them and the product in one instruction. The emulation runs everywhere, rounds as AMX does (Intel's
// Software Developer's Manual, TDPBF16PS), and lets the kernels over these tiles be tested on any machine.
#pragma once

#include "convert.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int64_t tile_side = 16;        // rows of a tile, and float32 sums or pairs in one of its rows
constexpr int64_t tile_depth = 32;       // bfloat16 in one of its rows
constexpr int64_t tile_row_bytes = 64;

struct alignas(64) Tile {
  char bytes[tile_side * tile_row_bytes];
};

#ifdef __AMX_BF16__

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

#else

class Tiles {
 public:
  template <int tile>
  void load(const void* rows, int64_t stride_bytes) {
    for (int64_t row = 0; row < tile_side; ++row)
      __builtin_memcpy(tiles[tile].bytes + row * tile_row_bytes, static_cast<const char*>(rows) + row * stride_bytes,
                       tile_row_bytes);
  }
  template <int tile>
  void store(void* rows, int64_t stride_bytes) {
    for (int64_t row = 0; row < tile_side; ++row)
      __builtin_memcpy(static_cast<char*>(rows) + row * stride_bytes, tiles[tile].bytes + row * tile_row_bytes,
                       tile_row_bytes);
  }
  template <int tile>
  void zero() {
    tiles[tile] = Tile{};
  }
  template <int sums, int rows, int pairs>
  void multiply() {
    float right[tile_side][2][tile_side], left[tile_side][tile_depth], sum[tile_side][tile_side];
    for (int64_t k = 0; k < tile_side; ++k)
      for (int64_t n = 0; n < tile_side; ++n)
        for (int64_t half = 0; half < 2; ++half) right[k][half][n] = value(tiles[pairs], k, 2 * n + half);
    for (int64_t m = 0; m < tile_side; ++m)
      for (int64_t k = 0; k < tile_depth; ++k) left[m][k] = value(tiles[rows], m, k);
    __builtin_memcpy(sum, tiles[sums].bytes, sizeof(sum));
    for (int64_t m = 0; m < tile_side; ++m) {
      float half_sums[2][tile_side] = {};
      for (int64_t k = 0; k < tile_side; ++k)
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t n = 0; n < tile_side; ++n)
            half_sums[half][n] = flushed(half_sums[half][n] + left[m][2 * k + half] * right[k][half][n]);
      for (int64_t n = 0; n < tile_side; ++n)
        sum[m][n] = flushed(flushed(sum[m][n]) + flushed(half_sums[0][n] + half_sums[1][n]));
    }
    __builtin_memcpy(tiles[sums].bytes, sum, sizeof(sum));
  }

 private:
  // Denormal numbers count as zero.
  static HYPERCONV_INLINE float flushed(float value) {
    const uint32_t bits = bits_of(value);
    return (bits & 0x7f800000u) == 0 ? float_of(bits & 0x80000000u) : value;
  }
  static HYPERCONV_INLINE float value(const Tile& tile, int64_t row, int64_t column) {
    bfloat16 element;
    __builtin_memcpy(&element, tile.bytes + row * tile_row_bytes + column * sizeof(element), sizeof(element));
    return flushed(widen(element));
  }

  Tile tiles[8] = {};
};

#endif

}  // namespace hyperconv::HYPERCONV_ISA

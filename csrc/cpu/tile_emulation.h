// Tiles whose product is that of AMX, or with HYPERCONV_EMULATE_VDPBF16PS that of AVX512-BF16, in the order and with
// the rounding of Intel's Software Developer's Manual (TDPBF16PS, VDPBF16PS): to nearest even, denormals are zero.
#pragma once

#include "tile_memory.h"

namespace hyperconv::HYPERCONV_ISA {

HYPERCONV_INLINE float flushed(float value) {
  const uint32_t bits = bits_of(value);
  return (bits & 0x7f800000u) == 0 ? float_of(bits & 0x80000000u) : value;
}

// The two factors, widened: rows as they are, pairs with their first and their second elements side by side.
struct TileFactors {
  TileFactors(const Tile& rows, const Tile& pairs) {
    for (int64_t k = 0; k < tile_side; ++k)
      for (int64_t n = 0; n < tile_side; ++n)
        for (int64_t half = 0; half < 2; ++half) right[k][half][n] = value(pairs, k, 2 * n + half);
    for (int64_t m = 0; m < tile_side; ++m)
      for (int64_t k = 0; k < tile_depth; ++k) left[m][k] = value(rows, m, k);
  }
  float right[tile_side][2][tile_side], left[tile_side][tile_depth];

 private:
  static HYPERCONV_INLINE float value(const Tile& tile, int64_t row, int64_t column) {
    bfloat16 element;
    __builtin_memcpy(&element, tile.bytes + row * tile_row_bytes + column * sizeof(element), sizeof(element));
    return flushed(widen(element));
  }
};

// One row of sums, from the one row of the left factor.
#ifdef HYPERCONV_EMULATE_VDPBF16PS
// Fused: a product of two bfloat16 is exact in double, and a sum of two numbers of 24 bits is rounded rightly to 24
// bits by way of 53. The second element of a pair comes first.
HYPERCONV_INLINE void add_products(float* sums, const float* left, const TileFactors& factors) {
  for (int64_t n = 0; n < tile_side; ++n) sums[n] = flushed(sums[n]);
  for (int64_t k = 0; k < tile_side; ++k)
    for (int64_t half = 1; half >= 0; --half)
      for (int64_t n = 0; n < tile_side; ++n)
        sums[n] = flushed(static_cast<float>(sums[n] + double(left[2 * k + half]) * factors.right[k][half][n]));
}
#else
HYPERCONV_INLINE void add_products(float* sums, const float* left, const TileFactors& factors) {
  float half_sums[2][tile_side] = {};
  for (int64_t k = 0; k < tile_side; ++k)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t n = 0; n < tile_side; ++n)
        half_sums[half][n] = flushed(half_sums[half][n] + left[2 * k + half] * factors.right[k][half][n]);
  for (int64_t n = 0; n < tile_side; ++n)
    sums[n] = flushed(flushed(sums[n]) + flushed(half_sums[0][n] + half_sums[1][n]));
}
#endif

class Tiles : public TilesInMemory {
 public:
  template <int sums, int rows, int pairs>
  void multiply() {
    const TileFactors factors(tiles[rows], tiles[pairs]);
    float sum[tile_side][tile_side];
    __builtin_memcpy(sum, tiles[sums].bytes, sizeof(sum));
    for (int64_t m = 0; m < tile_side; ++m) add_products(sum[m], factors.left[m], factors);
    __builtin_memcpy(tiles[sums].bytes, sum, sizeof(sum));
  }
};

}  // namespace hyperconv::HYPERCONV_ISA

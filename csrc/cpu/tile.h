// Matrix tiles of 16 rows of 64 bytes, and their one product: of pairs of bfloat16, added up in float32,
//     sums[m][n] += sum over k of rows[m][2k] * pairs[k][2n] + rows[m][2k + 1] * pairs[k][2n + 1].
//
// AMX has eight of them and the product in one instruction; VDPBF16PS of AVX512-BF16 adds one k to one row of sums. An
// emulation of either runs everywhere, rounds as the processor does, and lets the kernels over these tiles be tested on
// any machine.
#pragma once

#include "convert.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int64_t tile_side = 16;        // rows of a tile, and float32 sums or pairs in one of its rows
constexpr int64_t tile_depth = 32;       // bfloat16 in one of its rows
constexpr int64_t tile_row_bytes = 64;

struct alignas(64) Tile {
  char bytes[tile_side * tile_row_bytes];
};

}  // namespace hyperconv::HYPERCONV_ISA

#if defined(__AMX_BF16__)
#include "tile_amx.h"
#elif defined(HYPERCONV_VDPBF16PS)
#include "tile_dot.h"
#else
#include "tile_emulation.h"
#endif

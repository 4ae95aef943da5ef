// Tiles multiplied by VDPBF16PS of AVX512-BF16, a row of 16 sums in a register: 256 instructions a product, whose rows
// are broadcast from memory as they go in. Their copies into tiles cost loads and stores, and no multiplication.
#pragma once

#include "tile_memory.h"

namespace hyperconv::HYPERCONV_ISA {

class Tiles : public TilesInMemory {
 public:
  // Assembly because these registers exist in no other instruction here: tests/ops/dot_trap.cpp carries out each on
  // processors that lack it.
  template <int sums, int rows, int pairs>
  HYPERCONV_INLINE void multiply() {
    const char *row = tiles[rows].bytes, *pair = tiles[pairs].bytes;
    int64_t left = tile_side;
    __asm__ volatile(
        ".irp m, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vmovups 64*\\m(%[sums]), %%zmm\\m\n"
        ".endr\n"
        "0:\n"
        "vmovups (%[pair]), %%zmm16\n"
        ".irp m, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vdpbf16ps 64*\\m(%[row])%{1to16%}, %%zmm16, %%zmm\\m\n"
        ".endr\n"
        "add $64, %[pair]\n"
        "add $4, %[row]\n"
        "dec %[left]\n"
        "jnz 0b\n"
        ".irp m, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vmovups %%zmm\\m, 64*\\m(%[sums])\n"
        ".endr\n"
        "vzeroupper\n"
        : [row] "+r"(row), [pair] "+r"(pair), [left] "+r"(left)
        : [sums] "r"(tiles[sums].bytes)
        : "memory", "cc",
#ifdef __AVX512F__
          "xmm16",  // without the flag for it the compiler neither uses nor knows it
#endif
          "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
          "xmm13", "xmm14", "xmm15");
  }
};

}  // namespace hyperconv::HYPERCONV_ISA

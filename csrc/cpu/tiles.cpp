// The bfloat16 kernels over matrix tiles, compiled once for each kind of tile as -DHYPERCONV_ISA=<name>, under the
// rules of kernels.cpp: with the flags of AMX or AVX-512, and without for the emulations.
#include "tile_accumulate.h"
#include "tile_correlate.h"

namespace hyperconv::HYPERCONV_ISA {

static void one_product(const void* rows, const void* pairs, float* sums) {
  Tiles tiles;
  tiles.zero<0>();
  tiles.load<1>(rows, tile_row_bytes);
  tiles.load<2>(pairs, tile_row_bytes);
  tiles.multiply<0, 1, 2>();
  tiles.store<0>(sums, tile_row_bytes);
}

const TileKernels tiles{correlate_by_tiles, accumulate_by_tiles, one_product};

}  // namespace hyperconv::HYPERCONV_ISA

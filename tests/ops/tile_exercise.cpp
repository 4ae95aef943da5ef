// What the kernels ask of tiles, in one call; compiled once for each kind of tile, as -DHYPERCONV_ISA=<name>.
#include "tile.h"

namespace hyperconv::HYPERCONV_ISA {

// `factors`: four tiles whose rows lie `stride` bytes apart, two of rows and two of pairs; `sums`: four tiles likewise.
void exercise(const char* factors, char* sums, int64_t stride) {
  const int64_t tile = tile_side * stride;
  Tiles tiles;
  tiles.load<0>(sums, stride);
  tiles.load<1>(sums + tile, stride);
  tiles.zero<0>(), tiles.zero<2>(), tiles.zero<3>();
  tiles.load<3>(sums + 3 * tile, stride);
  tiles.load<4>(factors, stride);
  tiles.load<5>(factors + tile, stride);
  tiles.load<6>(factors + 2 * tile, stride);
  tiles.load<7>(factors + 3 * tile, stride);
  for (int step = 0; step < 3; ++step) {
    tiles.multiply<0, 4, 6>();
    tiles.multiply<1, 4, 7>();
    tiles.multiply<2, 5, 6>();
    tiles.multiply<3, 5, 7>();
  }
  tiles.store<0>(sums, stride);
  tiles.store<1>(sums + tile, stride);
  tiles.store<2>(sums + 2 * tile, stride);
  tiles.store<3>(sums + 3 * tile, stride);
}

}  // namespace hyperconv::HYPERCONV_ISA

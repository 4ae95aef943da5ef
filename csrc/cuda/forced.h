// Choices that follow from the size of a problem, and that tests force to reach every kernel with small ones.
// Only the host layer of the tests has the variable; for nvcc it is a constant.

#pragma once

namespace hyperconv {

struct Forced {
  bool gather = false;    // no tiles
  bool wide = false;      // offsets in 64 bits
  int shape = -1;         // the TileShape or ProductShape, where not negative
  int parts = 0;          // of a sum over pixels, where not zero
  int shared_limit = 0;   // bytes of shared memory, where not zero
  int blocks_wanted = 0;  // where not zero: with few, a block takes many tiles
};

#ifdef __CUDACC__
constexpr Forced forced{};
#else
inline Forced forced;
#endif

}  // namespace hyperconv

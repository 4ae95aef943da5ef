// Kernels cut into parts for Winograd's algorithm, whose filters take few taps side by side and know no stride.
//
// A stride s splits the input, and with it the taps, into s phases along each axis; in the pixels of one phase the taps
// that belong to it lie side by side. A run of them is cut into pieces of `side`: along one axis of a 4 x 4 kernel at
// stride 2 into {0, 2} and {1, 3}, of a 5 x 5 kernel into {0, 1, 2} and {3, 4}.
#pragma once

#include <vector>

#include "geometry.h"

namespace hyperconv {

// The parts of one axis.
struct AxisParts {
  AxisParts(const AxisTaps& axis, int64_t side);

  std::vector<int64_t> first;              // the input that tap 0 of the part reads for output 0
  std::vector<std::vector<int64_t>> taps;  // of AxisTaps, by their index there
};

// The parts of a kernel, with the tables they point into; taps are numbered as in Layout.
struct PartsLayout {
  PartsLayout(const AxisTaps& rows, const AxisTaps& columns, int64_t side);
  PartsLayout(const PartsLayout&) = delete;

  KernelParts all;
  KernelParts only(int64_t part) const;  // that one alone

 private:
  std::vector<int64_t> first_row, first_column, taps;
};

}  // namespace hyperconv

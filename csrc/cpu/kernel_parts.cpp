#include "kernel_parts.h"

#include <algorithm>
#include <numeric>

namespace hyperconv {

AxisParts::AxisParts(const AxisTaps& axis, int64_t side) {
  const std::vector<int64_t>& displacement = axis.displacement;
  std::vector<int64_t> order(displacement.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return displacement[a] < displacement[b]; });
  for (int64_t tap : order) {
    const auto continues = [&](size_t part) {
      const int64_t length = taps[part].size();
      return length < side && displacement[tap] == first[part] + length * axis.step;
    };
    size_t part = 0;
    while (part < first.size() && !continues(part)) ++part;
    if (part == first.size()) {
      first.push_back(displacement[tap]);
      taps.emplace_back();
    }
    taps[part].push_back(tap);
  }
}

PartsLayout::PartsLayout(const AxisTaps& rows, const AxisTaps& columns, int64_t side) {
  const AxisParts row_parts(rows, side), column_parts(columns, side);
  const int64_t column_taps = columns.index.size();
  for (size_t i = 0; i < row_parts.first.size(); ++i) {
    for (size_t j = 0; j < column_parts.first.size(); ++j) {
      first_row.push_back(row_parts.first[i]);
      first_column.push_back(column_parts.first[j]);
      std::vector<int64_t> square(side * side, -1);
      for (size_t y = 0; y < row_parts.taps[i].size(); ++y)
        for (size_t x = 0; x < column_parts.taps[j].size(); ++x)
          square[y * side + x] = row_parts.taps[i][y] * column_taps + column_parts.taps[j][x];
      taps.insert(taps.end(), square.begin(), square.end());
    }
  }
  const int64_t count = first_row.size();
  all = {count, side, rows.step, columns.step, first_row.data(), first_column.data(), taps.data()};
}

KernelParts PartsLayout::only(int64_t part) const {
  KernelParts one = all;
  one.count = 1;
  one.first_row += part, one.first_column += part, one.taps += part * one.side * one.side;
  return one;
}

}  // namespace hyperconv

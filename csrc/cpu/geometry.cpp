#include "geometry.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace hyperconv {
namespace {

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

struct AxisLayout {
  std::vector<int64_t> base;          // per plane
  std::vector<int64_t> plane, shift;  // per tap
  int64_t span = 0;

  void reserve(size_t taps) {
    for (std::vector<int64_t>* table : {&base, &plane, &shift}) table->reserve(taps);
  }
};

AxisLayout shared_planes(const AxisTaps& axis) {
  AxisLayout layout;
  layout.reserve(axis.displacement.size());
  const int64_t nearest = *std::min_element(axis.displacement.begin(), axis.displacement.end());
  const int64_t first = floor_divide(nearest, axis.step);
  for (int64_t displacement : axis.displacement) {
    const int64_t quotient = floor_divide(displacement, axis.step);
    const int64_t base = displacement - (quotient - first) * axis.step;
    const auto found = std::find(layout.base.begin(), layout.base.end(), base);
    layout.plane.push_back(found - layout.base.begin());
    if (found == layout.base.end()) layout.base.push_back(base);
    layout.shift.push_back(quotient - first);
    layout.span = std::max(layout.span, quotient - first);
  }
  return layout;
}

AxisLayout separate_planes(const AxisTaps& axis) {
  AxisLayout layout;
  layout.base = axis.displacement;
  layout.plane.resize(axis.displacement.size());
  std::iota(layout.plane.begin(), layout.plane.end(), 0);
  layout.shift.assign(axis.displacement.size(), 0);
  return layout;
}

// Elements along the axis: of shared planes, and of a plane for every tap.
int64_t elements_of_shared(const AxisLayout& shared, int64_t outputs) {
  return static_cast<int64_t>(shared.base.size()) * (outputs + shared.span);
}
int64_t elements_of_separate(const AxisTaps& axis, int64_t outputs) {
  return static_cast<int64_t>(axis.displacement.size()) * outputs;
}

AxisLayout lay_out(const AxisTaps& axis, int64_t outputs) {
  AxisLayout shared = shared_planes(axis);
  const bool apart = elements_of_separate(axis, outputs) < elements_of_shared(shared, outputs);
  return apart ? separate_planes(axis) : shared;
}

}  // namespace

Layout::Layout(const AxisTaps& rows, const AxisTaps& columns, int64_t block_rows, int64_t weight_row_stride,
               int64_t weight_column_stride, bool planes_of_taps) {
  AxisLayout row = lay_out(rows, block_rows);
  AxisLayout column = planes_of_taps ? separate_planes(columns) : lay_out(columns, columns.outputs);
  row_base = std::move(row.base);
  column_base = std::move(column.base);
  window.row_planes = row_base.size();
  window.column_planes = column_base.size();
  window.row_base = row_base.data();
  window.column_base = column_base.data();
  window.row_step = rows.step;
  window.column_step = columns.step;
  window.row_span = row.span;
  window.rows = block_rows + row.span;
  window.pitch = columns.outputs + column.span;
  const int64_t plane = window.rows * window.pitch;
  // At least a vector between channels, so that no tile of one reads another, and an odd number of cache lines in
  // all, so that channels spread over the cache sets whatever the image size.
  window.channel_stride = ((window.row_planes * window.column_planes * plane + 31) / 16 | 1) * 16;

  offset.reserve(row.plane.size() * column.plane.size());
  weight.reserve(row.plane.size() * column.plane.size());
  for (size_t i = 0; i < row.plane.size(); ++i) {
    for (size_t j = 0; j < column.plane.size(); ++j) {
      const int64_t index = row.plane[i] * window.column_planes + column.plane[j];
      offset.push_back(index * plane + row.shift[i] * window.pitch + column.shift[j]);
      weight.push_back(rows.index[i] * weight_row_stride + columns.index[j] * weight_column_stride);
    }
  }
  taps = {static_cast<int64_t>(offset.size()), offset.data(), weight.data()};
}

ColumnLayout::ColumnLayout(const AxisTaps& rows, const AxisTaps& columns, int64_t height, int64_t width,
                           int64_t weight_row_stride, int64_t weight_column_stride) {
  for (size_t i = 0; i < rows.index.size(); ++i) {
    for (size_t j = 0; j < columns.index.size(); ++j) {
      weight.push_back(rows.index[i] * weight_row_stride + columns.index[j] * weight_column_stride);
      for (int64_t y = 0; y < rows.outputs; ++y) {
        for (int64_t x = 0; x < columns.outputs; ++x) {
          const int64_t row = y * rows.step + rows.displacement[i], column = x * columns.step + columns.displacement[j];
          const bool inside = row >= 0 && row < height && column >= 0 && column < width;
          element.push_back(inside ? row * width + column : height * width);
        }
      }
    }
  }
  table = {rows.outputs * columns.outputs, element.data()};
  taps = {static_cast<int64_t>(weight.size()), nullptr, weight.data()};
}

AxisTaps forward_taps(int64_t outputs, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  AxisTaps axis{outputs, stride, {}, {}};
  axis.reserve(kernel);
  for (int64_t i = 0; i < kernel; ++i) {
    axis.index.push_back(i);
    axis.displacement.push_back(i * dilation - padding);
  }
  return axis;
}

AxisTaps transposed_taps(int64_t inputs, int64_t phase, int64_t kernel, int64_t stride, int64_t padding,
                         int64_t dilation) {
  AxisTaps axis{inputs > phase ? (inputs - 1 - phase) / stride + 1 : 0, 1, {}, {}};
  axis.reserve(kernel);
  for (int64_t i = kernel - 1; i >= 0; --i) {
    const int64_t distance = phase + padding - i * dilation;
    if (distance % stride != 0) continue;
    axis.index.push_back(i);
    axis.displacement.push_back(distance / stride);
  }
  return axis;
}

int64_t choose_block_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t channels, int64_t element_size,
                          int64_t bytes) {
  const AxisLayout shared = shared_planes(rows), shared_columns = shared_planes(columns);
  const int64_t pitch = std::min(elements_of_shared(shared_columns, columns.outputs),
                                 elements_of_separate(columns, columns.outputs));
  const int64_t row_bytes = pitch * std::max<int64_t>(channels, 1) * element_size;
  const auto cost = [&](int64_t block_rows) {
    return std::min(elements_of_shared(shared, block_rows), elements_of_separate(rows, block_rows)) * row_bytes;
  };
  const int64_t span = shared.span;
  int64_t low = 1, high = std::max<int64_t>(rows.outputs, 1);
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    const bool fits = cost(middle) <= bytes || (middle <= span && cost(middle) <= 4 * bytes);
    if (fits) low = middle; else high = middle - 1;
  }
  const int64_t blocks = (std::max<int64_t>(rows.outputs, 1) + low - 1) / low;
  return (std::max<int64_t>(rows.outputs, 1) + blocks - 1) / blocks;
}

}  // namespace hyperconv

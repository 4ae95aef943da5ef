// How a block of an image is laid out so that the inner loops see no padding, stride or dilation.
//
// The linear-offset idea. Along one axis, output position o under kernel tap t reads input position
//     o * step + displacement[t].
// Write displacement = step * shift + phase. The input positions of one phase form a plane, stored densely, in which
// the position wanted is simply o + shift: linear in o with slope one. Doing this on both axes, with all rows of a
// plane at one pitch, the value under output pixel p = row * pitch + column and tap t is
//     window[channel][offset[t] + p],
// with one constant offset per tap. Positions outside the image are stored as zeros. The columns between the width of
// the output and the pitch are computed with the rest and never stored, so narrow images still fill the vectors.
//
// Where taps lie so far apart that a plane would be mostly unused (large dilation), every tap gets a plane of its own.
#pragma once

#include <vector>

#include "interface.h"

namespace hyperconv {

// The taps along one axis: output o reads input o * step + displacement[t], through kernel entry index[t].
struct AxisTaps {
  int64_t outputs;
  int64_t step;
  std::vector<int64_t> index, displacement;

  void reserve(int64_t taps) { index.reserve(taps), displacement.reserve(taps); }
};

// A window with the tables it points into.
struct Layout {
  // `planes_of_taps`: every column of the kernel gets a plane of its own, and the pitch is the width of the output.
  Layout(const AxisTaps& rows, const AxisTaps& columns, int64_t block_rows, int64_t weight_row_stride,
         int64_t weight_column_stride, bool planes_of_taps = false);
  Layout(const Layout&) = delete;  // window and taps point into the tables below

  Window window;
  Taps taps;

 private:
  std::vector<int64_t> row_base, column_base, offset, weight;
};

// What columns.h goes by: where every tap lies in a plane of height x width elements, and in the weights.
struct ColumnLayout {
  ColumnLayout(const AxisTaps& rows, const AxisTaps& columns, int64_t height, int64_t width, int64_t weight_row_stride,
               int64_t weight_column_stride);
  ColumnLayout(const ColumnLayout&) = delete;

  ColumnTable table;
  Taps taps;

 private:
  std::vector<int64_t> element, weight;
};

// Taps of a convolution: every output reads output * stride + i * dilation - padding.
AxisTaps forward_taps(int64_t outputs, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation);

// Taps of its transpose, for the inputs phase, phase + stride, phase + 2 stride, ... of `inputs`: only the kernel
// entries that meet this phase, so no multiplication by an inserted zero. May be empty.
AxisTaps transposed_taps(int64_t inputs, int64_t phase, int64_t kernel, int64_t stride, int64_t padding,
                         int64_t dilation);

// The largest number of rows whose windows, `channels` of them, stay within `bytes`; at least the span of the kernel
// where that costs no more than a few times as much, and balanced over the blocks.
int64_t choose_block_rows(const AxisTaps& rows, const AxisTaps& columns, int64_t channels, int64_t element_size,
                          int64_t bytes);

}  // namespace hyperconv

// Products of small matrices, register-blocked: those between Winograd's transforms, and those of columns.
#pragma once

#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

// A register tile: product_rows rows of `out` by product_vectors vectors of columns.
constexpr int product_rows = 6;
constexpr int product_vectors = HYPERCONV_VECTOR_REGISTERS == 32 ? 4 : 2;

// Vectors of the tile at some column when so many are left: 4, 2 or 1.
HYPERCONV_INLINE int64_t vectors_at_once(int64_t left) {
  return left >= product_vectors ? product_vectors : left >= 2 ? 2 : 1;
}

// The matrix whose entry (row, k) is data[row * row_stride + k * step].
template <typename T>
struct LeftFactor {
  const T* data;
  int64_t row_stride, step;
};

// The matrix whose tile from `column` on begins at data + column * column_stride, and has rows `row_stride` apart, or
// as wide as the tile where that is 0.
template <typename T>
struct RightFactor {
  const T* data;
  int64_t column_stride, row_stride;
};

// The sum over k < count of a(r, k) * b[k][column], or as many of them as `at_once` in each partial sum.
struct SumLength {
  int64_t count, at_once;
};

// out[r][column] = the sum, added to what is there where `add`, for R rows and V vectors of columns.
template <typename T, int R, int V>
void multiply_tile(LeftFactor<T> a, const T* b, int64_t b_stride, SumLength length, T* out, int64_t out_stride,
                   bool add) {
  for (int64_t k = 0; k < length.count; add = true) {
    Vector<T> sum[R][V];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = Vector<T>{};
    const int64_t end = smaller(k + length.at_once, length.count);
    for (; k < end; ++k, a.data += a.step, b += b_stride) multiply_add<T, R, V>(sum, b, a.data, a.row_stride);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        T* target = out + r * out_stride + v * lanes<T>;
        Vector<T> before = {};
        if (add) load(before, target);
        store(target, Vector<T>(before + sum[r][v]));
      }
  }
}

template <typename T>
using ProductFunction = void (*)(LeftFactor<T>, const T*, int64_t, SumLength, T*, int64_t, bool);

template <typename T, int V>
ProductFunction<T> product_function(int64_t rows) {
  switch (rows) {
    case 1: return multiply_tile<T, 1, V>;
    case 2: return multiply_tile<T, 2, V>;
    case 3: return multiply_tile<T, 3, V>;
    case 4: return multiply_tile<T, 4, V>;
    case 5: return multiply_tile<T, 5, V>;
    default: return multiply_tile<T, 6, V>;
  }
}

template <typename T>
ProductFunction<T> product_function(int64_t rows, int64_t vectors) {
  if (vectors == 1) return product_function<T, 1>(rows);
  return vectors == 2 ? product_function<T, 2>(rows) : product_function<T, product_vectors>(rows);
}

// out (rows x columns, contiguous) = a * b, added to what is there where `add`; columns a multiple of the lanes.
template <typename T>
void multiply(const LeftFactor<T>& a, const RightFactor<T>& b, int64_t rows, int64_t columns, SumLength length, T* out,
              bool add) {
  const Panels panels = cut_into_panels(rows, product_rows);
  for (int64_t column = 0; column < columns;) {
    const int64_t vectors = vectors_at_once((columns - column) / lanes<T>);
    const int64_t b_stride = b.row_stride ? b.row_stride : vectors * lanes<T>;
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      const int64_t row = panel_start(panels, panel), height = panel_width(panels, panel);
      product_function<T>(height, vectors)({a.data + row * a.row_stride, a.row_stride, a.step},
                                           b.data + column * b.column_stride, b_stride, length,
                                           out + row * columns + column, columns, add);
    }
    column += vectors * lanes<T>;
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

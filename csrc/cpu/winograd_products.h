// The products between Winograd's transforms: small matrices, register-blocked.
#pragma once

#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

// A register tile: product_rows rows of `out` by product_vectors vectors of columns.
constexpr int product_rows = 6;
constexpr int product_vectors = HYPERCONV_VECTOR_REGISTERS == 32 ? 4 : 2;

// A matrix whose entry (row, k) is data[row * row_stride + k * step].
template <typename T>
struct Factor {
  const T* data;
  int64_t row_stride, step;
};

// out[r][column] (or += where `add`) = sum over k < count of a(r, k) * b[k][column], for R rows and V vectors.
template <typename T, int R, int V>
void multiply_tile(Factor<T> a, const T* b, int64_t b_stride, int64_t count, T* out, int64_t out_stride, bool add) {
  Vector<T> sum[R][V];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      sum[r][v] = Vector<T>{};
      if (add) load(sum[r][v], out + r * out_stride + v * lanes<T>);
    }
  for (int64_t k = 0; k < count; ++k, a.data += a.step, b += b_stride) {
    Vector<T> x[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) load(x[v], b + v * lanes<T>);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      Vector<T> w;
      broadcast(w, a.data[r * a.row_stride]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += w * x[v];
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(out + r * out_stride + v * lanes<T>, sum[r][v]);
}

template <typename T>
using ProductFunction = void (*)(Factor<T>, const T*, int64_t, int64_t, T*, int64_t, bool);

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

// out (rows x columns, contiguous) = or += a (rows x count) * b (count x columns, contiguous); columns a multiple of
// the lanes.
template <typename T>
void multiply(const Factor<T>& a, const T* b, int64_t rows, int64_t columns, int64_t count, T* out, bool add) {
  const Panels panels = cut_into_panels(rows, product_rows);
  for (int64_t column = 0; column < columns;) {
    const int64_t left = (columns - column) / lanes<T>;
    const int64_t vectors = left >= product_vectors ? product_vectors : left >= 2 ? 2 : 1;
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      const int64_t row = panel_start(panels, panel), height = panel_width(panels, panel);
      const Factor<T> part{a.data + row * a.row_stride, a.row_stride, a.step};
      product_function<T>(height, vectors)(part, b + column, columns, count, out + row * columns + column, columns,
                                           add);
    }
    column += vectors * lanes<T>;
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

// Winograd's algorithm along the rows alone, F(2, 3) (Lavin and Gray 2016, section 4.1): two rows of output under a
// kernel of three rows take four products of rows instead of six, and nothing else but sums of whole rows:
//     y0 = m0 + m1 + m2     m0 = (d0 - d2) g0     m1 = (d1 + d2) (g0 + g1 + g2) / 2
//     y1 = m1 - m2 + m3     m3 = (d3 - d1) g2     m2 = (d2 - d1) (g0 - g1 + g2) / 2.
// The rows d of the input overlap by two from one pair to the next. Its error is that of direct sums, or less: the sums
// are shorter. A NaN or an infinity of the input reaches both rows of the pairs that read it.
#pragma once

#include "pack.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int pair_products = 4;

// The window of `pairs` pairs of rows, whose even and odd rows lie in planes of their own: a pair is one step along
// both, and the transforms see no rows at all. At least `margin` zeros follow each plane.
struct PairWindow {
  PairWindow(int64_t row_base, int64_t column_base, int64_t pairs, int64_t pitch, int64_t margin)
      : row_bases{row_base, row_base + 1},
        column_base(column_base),
        rows(pairs + (margin + pitch - 1) / pitch),
        pitch(pitch) {}
  int64_t row_bases[2], column_base, rows, pitch;

  int64_t plane() const { return rows * pitch; }
  Window window() const {
    const int64_t channel_stride = ((2 * plane() + 15) / 16 | 1) * 16;  // an odd number of cache lines
    return {2, 1, row_bases, &column_base, 2, 1, 0, rows, pitch, channel_stride};
  }
};

// The factors of m0 to m3 from the rows d0 to d3 of one channel, for `count` pixels of as many pairs as they are:
// target[product][pair][pitch], the products `stride` elements apart. Works in whole vectors, beyond `count`.
template <typename T>
void transform_input_rows(T* target, int64_t stride, const T* even, const T* odd, int64_t pitch, int64_t count) {
  for (int64_t i = 0; i < count; i += lanes<T>) {
    Vector<T> d0, d1, d2, d3;
    load(d0, even + i), load(d1, odd + i), load(d2, even + pitch + i), load(d3, odd + pitch + i);
    store(target + i, Vector<T>(d0 - d2));
    store(target + stride + i, Vector<T>(d1 + d2));
    store(target + 2 * stride + i, Vector<T>(d2 - d1));
    store(target + 3 * stride + i, Vector<T>(d3 - d1));
  }
}

// The other factors, of the kernel entries g0, g1 and g2 above each other.
template <typename T>
HYPERCONV_INLINE void transform_kernel_rows(T (&target)[pair_products], T g0, T g1, T g2) {
  const T outer = (g0 + g2) / 2, inner = g1 / 2;
  target[0] = g0, target[1] = outer + inner, target[2] = outer - inner, target[3] = g2;
}

// For the gradient of the kernel, F(3, 2), the two rows g of the output's gradient are the factors:
//     w0 = m0 + (m1 + m2) / 2     m0 = (d0 - d2) g0     m1 = (d1 + d2) (g0 + g1)
//     w1 =      (m1 - m2) / 2     m3 = (d3 - d1) g1     m2 = (d2 - d1) (g0 - g1)
//     w2 = m3 + (m1 + m2) / 2.
// The sums and differences of `count` pixels, a multiple of the lanes; returns the sum of all.
template <typename T>
T transform_gradient_rows(T* sums, T* differences, const T* even, const T* odd, int64_t count) {
  Vector<T> total = {};
  for (int64_t i = 0; i < count; i += lanes<T>) {
    Vector<T> g0, g1;
    load(g0, even + i), load(g1, odd + i);
    store(sums + i, Vector<T>(g0 + g1));
    store(differences + i, Vector<T>(g0 - g1));
    total += g0 + g1;
  }
  T result = 0;
  for (int lane = 0; lane < lanes<T>; ++lane) result += total[lane];
  return result;
}

template <typename T>
HYPERCONV_INLINE void transform_kernel_gradient(T (&target)[3], const T (&products)[pair_products]) {
  const T even = (products[1] + products[2]) / 2, odd = (products[1] - products[2]) / 2;
  target[0] = products[0] + even, target[1] = odd, target[2] = products[3] + even;
}

}  // namespace hyperconv::HYPERCONV_ISA

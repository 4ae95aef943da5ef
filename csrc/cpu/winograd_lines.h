// Winograd's minimal filtering F(4, 3) along one axis: four outputs of a 3-tap correlation from six inputs with six
// products in place of twelve,
//     y = A' [(G g) * (B' d)],
// and F(4 x 4, 3 x 3), the same along both axes: 36 products in place of 144 (Lavin and Gray, "Fast algorithms for
// convolutional neural networks", 2016).
//
// The interpolation points are 0, +-2/3, +-3/2 and infinity. The usual 0, +-1, +-2 make errors four times those of a
// direct float32 convolution; these, two pairs whose product is one, keep the three matrices' entries near one and the
// error below twice it.
#pragma once

#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int tile_inputs = 6, tile_outputs = 4, tile_taps = 3;
constexpr int tile_products = tile_inputs * tile_inputs, tile_pixels = tile_outputs * tile_outputs;

// The points +-p and +-q, p * q = 1, their powers, and the factors that make products of transforms a convolution.
template <typename T>
struct Points {
  static constexpr T p = T(2.0 / 3), q = T(3.0 / 2), p2 = T(4.0 / 9), q2 = T(9.0 / 4), p3 = T(8.0 / 27), q3 = T(27.0 / 8);
  static constexpr T sum2 = T(97.0 / 36), factor_p = T(-81.0 / 130), factor_q = T(8.0 / 65);
};

// B' d.
template <typename T>
HYPERCONV_INLINE void transform_inputs(const Vector<T> (&d)[6], Vector<T> (&v)[6]) {
  using P = Points<T>;
  const Vector<T> even_p = d[4] - P::q2 * d[2], odd_p = P::p * d[3] - P::q * d[1];
  const Vector<T> even_q = d[4] - P::p2 * d[2], odd_q = P::q * d[3] - P::p * d[1];
  v[0] = d[0] + (d[4] - P::sum2 * d[2]);
  v[1] = even_p + odd_p;
  v[2] = even_p - odd_p;
  v[3] = even_q + odd_q;
  v[4] = even_q - odd_q;
  v[5] = d[1] + (d[5] - P::sum2 * d[3]);
}

// G g.
template <typename T>
HYPERCONV_INLINE void transform_taps(const Vector<T> (&g)[3], Vector<T> (&u)[6]) {
  using P = Points<T>;
  const Vector<T> even_p = (g[0] + P::p2 * g[2]) * P::factor_p, odd_p = g[1] * (P::p * P::factor_p);
  const Vector<T> even_q = (g[0] + P::q2 * g[2]) * P::factor_q, odd_q = g[1] * (P::q * P::factor_q);
  u[0] = g[0];
  u[1] = even_p + odd_p;
  u[2] = even_p - odd_p;
  u[3] = even_q + odd_q;
  u[4] = even_q - odd_q;
  u[5] = g[2];
}

// A' m: four outputs from the six products.
template <typename T>
HYPERCONV_INLINE void transform_products(const Vector<T> (&m)[6], Vector<T> (&y)[4]) {
  using P = Points<T>;
  const Vector<T> even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
  y[0] = m[0] + (even_p + even_q);
  y[1] = P::p * odd_p + P::q * odd_q;
  y[2] = P::p2 * even_p + P::q2 * even_q;
  y[3] = m[5] + (P::p3 * odd_p + P::q3 * odd_q);
}

// A y, for the gradient by the taps: G' [(A y) * (B' d)].
template <typename T>
HYPERCONV_INLINE void transform_outputs(const Vector<T> (&y)[4], Vector<T> (&m)[6]) {
  using P = Points<T>;
  const Vector<T> even_p = y[0] + P::p2 * y[2], odd_p = P::p * y[1] + P::p3 * y[3];
  const Vector<T> even_q = y[0] + P::q2 * y[2], odd_q = P::q * y[1] + P::q3 * y[3];
  m[0] = y[0];
  m[1] = even_p + odd_p;
  m[2] = even_p - odd_p;
  m[3] = even_q + odd_q;
  m[4] = even_q - odd_q;
  m[5] = y[3];
}

// G' s.
template <typename T>
HYPERCONV_INLINE void transform_sums(const Vector<T> (&s)[6], Vector<T> (&g)[3]) {
  using P = Points<T>;
  const Vector<T> even_p = (s[1] + s[2]) * P::factor_p, odd_p = (s[1] - s[2]) * P::factor_p;
  const Vector<T> even_q = (s[3] + s[4]) * P::factor_q, odd_q = (s[3] - s[4]) * P::factor_q;
  g[0] = s[0] + (even_p + even_q);
  g[1] = P::p * odd_p + P::q * odd_q;
  g[2] = s[5] + (P::p2 * even_p + P::q2 * even_q);
}

// `line` along both axes, columns first: From * From vectors from read(row, column, vector) become To * To vectors for
// write(row, column, vector).
template <typename T, int From, int To, typename Line, typename Read, typename Write>
HYPERCONV_INLINE void transform_tile(const Line& line, const Read& read, const Write& write) {
  Vector<T> half[To][From];
  for (int column = 0; column < From; ++column) {
    Vector<T> source[From], target[To];
#pragma GCC unroll 6
    for (int row = 0; row < From; ++row) read(row, column, source[row]);
    line(source, target);
#pragma GCC unroll 6
    for (int row = 0; row < To; ++row) half[row][column] = target[row];
  }
  for (int row = 0; row < To; ++row) {
    Vector<T> target[To];
    line(half[row], target);
#pragma GCC unroll 6
    for (int column = 0; column < To; ++column) write(row, column, target[column]);
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

// Winograd's minimal filtering along one axis. F(M, R) makes M outputs of an R-tap correlation from M + R - 1 inputs
// with as many products in place of R M,
//     y = A' [(G g) * (B' d)],
// and F(M x M, R x R) does so along both axes: for R = 3, 16 products in place of 36 with M = 2, 25 in place of 81 with
// M = 3, 36 in place of 144 with M = 4 (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016);
// 25 in place of 64 for R = 2 and M = 4. The transposes of the same matrices give the gradient by the taps,
// G' [(A y) * (B' d)].
//
// F(2, 3) interpolates at 0, +-1 and infinity, F(3, 3) and F(4, 2) at +-p, +-q and infinity, F(4, 3) at those and 0,
// for a p and q that nearly make the rounding error least: the usual 0, +-1, 1/2 and 0, +-1, +-2 make more than twice
// of it. B' depends on the points alone.
#pragma once

#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int tile_inputs(int outputs, int taps) { return outputs + taps - 1; }
constexpr int tile_products(int outputs, int taps) { return tile_inputs(outputs, taps) * tile_inputs(outputs, taps); }

// The points +-p and +-q of filters with 5 or 6 inputs, their powers, and the factors that make products of transforms
// a convolution.
template <typename T, int Inputs>
struct Points {
  static constexpr bool has_zero = Inputs == 6;
  static constexpr double first = has_zero ? 2.0 / 3 : 3.0 / 8, second = has_zero ? 3.0 / 2 : 5.0 / 4;
  static constexpr double gap = first * first - second * second;
  static constexpr double zero_p = has_zero ? first : 1, zero_q = has_zero ? second : 1;  // distance to the point 0
  static constexpr T p = T(first), p2 = T(first * first), p3 = T(first * first * first);
  static constexpr T q = T(second), q2 = T(second * second), q3 = T(second * second * second);
  static constexpr T sum2 = T(first * first + second * second), product2 = T(first * first * second * second);
  static constexpr T factor_p = T(1 / (2 * first * zero_p * gap)), factor_q = T(-1 / (2 * second * zero_q * gap));
};

// B' d.
template <typename T>
HYPERCONV_INLINE void transform_inputs(const Vector<T> (&d)[4], Vector<T> (&v)[4]) {
  v[0] = d[0] - d[2];
  v[1] = d[1] + d[2];
  v[2] = d[2] - d[1];
  v[3] = d[3] - d[1];
}
template <typename T>
HYPERCONV_INLINE void transform_inputs(const Vector<T> (&d)[5], Vector<T> (&v)[5]) {
  using P = Points<T, 5>;
  const Vector<T> even_p = P::p * (d[2] - P::q2 * d[0]), odd_p = d[3] - P::q2 * d[1];
  const Vector<T> even_q = P::q * (d[2] - P::p2 * d[0]), odd_q = d[3] - P::p2 * d[1];
  v[0] = even_p + odd_p;
  v[1] = even_p - odd_p;
  v[2] = even_q + odd_q;
  v[3] = even_q - odd_q;
  v[4] = P::product2 * d[0] + (d[4] - P::sum2 * d[2]);
}
template <typename T>
HYPERCONV_INLINE void transform_inputs(const Vector<T> (&d)[6], Vector<T> (&v)[6]) {
  using P = Points<T, 6>;
  const Vector<T> even_p = d[4] - P::q2 * d[2], odd_p = P::p * d[3] - P::q * d[1];
  const Vector<T> even_q = d[4] - P::p2 * d[2], odd_q = P::q * d[3] - P::p * d[1];
  v[0] = d[0] + (d[4] - P::sum2 * d[2]);
  v[1] = even_p + odd_p;
  v[2] = even_p - odd_p;
  v[3] = even_q + odd_q;
  v[4] = even_q - odd_q;
  v[5] = d[1] + (d[5] - P::sum2 * d[3]);
}

// A polynomial of some coefficients at the points, and its last coefficient for infinity; values at +-p and +-q times
// their factors.
template <typename T, int Coefficients, int Count>
HYPERCONV_INLINE void at_points(const Vector<T> (&c)[Coefficients], Vector<T> (&v)[Count], T factor_p, T factor_q) {
  using P = Points<T, Count>;
  constexpr int first = P::has_zero;
  Vector<T> even_p = c[0], even_q = c[0];
  if constexpr (Coefficients > 2) {
    even_p = c[0] + P::p2 * c[2];
    even_q = c[0] + P::q2 * c[2];
  }
  Vector<T> odd_p = c[1] * (P::p * factor_p), odd_q = c[1] * (P::q * factor_q);
  if constexpr (Coefficients > 3) {
    odd_p = odd_p + c[3] * (P::p3 * factor_p);
    odd_q = odd_q + c[3] * (P::q3 * factor_q);
  }
  even_p = even_p * factor_p;
  even_q = even_q * factor_q;
  if constexpr (P::has_zero) v[0] = c[0];
  v[first] = even_p + odd_p;
  v[first + 1] = even_p - odd_p;
  v[first + 2] = even_q + odd_q;
  v[first + 3] = even_q - odd_q;
  v[Count - 1] = c[Coefficients - 1];
}

// The transpose of at_points.
template <typename T, int Count, int Coefficients>
HYPERCONV_INLINE void from_points(const Vector<T> (&v)[Count], Vector<T> (&c)[Coefficients], T factor_p, T factor_q) {
  using P = Points<T, Count>;
  constexpr int first = P::has_zero;
  const Vector<T> even_p = (v[first] + v[first + 1]) * factor_p, odd_p = (v[first] - v[first + 1]) * factor_p;
  const Vector<T> even_q = (v[first + 2] + v[first + 3]) * factor_q, odd_q = (v[first + 2] - v[first + 3]) * factor_q;
  c[0] = even_p + even_q;
  c[1] = P::p * odd_p + P::q * odd_q;
  if constexpr (Coefficients > 2) c[2] = P::p2 * even_p + P::q2 * even_q;
  if constexpr (Coefficients > 3) c[3] = P::p3 * odd_p + P::q3 * odd_q;
  if constexpr (P::has_zero) c[0] = v[0] + c[0];
  c[Coefficients - 1] = v[Count - 1] + c[Coefficients - 1];
}

// G g.
template <typename T, int Taps, int Inputs>
HYPERCONV_INLINE void transform_taps(const Vector<T> (&g)[Taps], Vector<T> (&u)[Inputs]) {
  if constexpr (Inputs > 4) {
    at_points<T>(g, u, Points<T, Inputs>::factor_p, Points<T, Inputs>::factor_q);
  } else {
    const Vector<T> even = (g[0] + g[2]) * T(0.5), odd = g[1] * T(0.5);
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
}

// A' m.
template <typename T, int Inputs, int Outputs>
HYPERCONV_INLINE void transform_products(const Vector<T> (&m)[Inputs], Vector<T> (&y)[Outputs]) {
  if constexpr (Inputs > 4) {
    from_points<T>(m, y, T(1), T(1));
  } else {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = m[3] + (m[1] - m[2]);
  }
}

// A y.
template <typename T, int Outputs, int Inputs>
HYPERCONV_INLINE void transform_outputs(const Vector<T> (&y)[Outputs], Vector<T> (&m)[Inputs]) {
  if constexpr (Inputs > 4) {
    at_points<T>(y, m, T(1), T(1));
  } else {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = y[1];
  }
}

// G' s.
template <typename T, int Inputs, int Taps>
HYPERCONV_INLINE void transform_sums(const Vector<T> (&s)[Inputs], Vector<T> (&g)[Taps]) {
  if constexpr (Inputs > 4) {
    from_points<T>(s, g, Points<T, Inputs>::factor_p, Points<T, Inputs>::factor_q);
  } else {
    const Vector<T> even = (s[1] + s[2]) * T(0.5);
    g[0] = s[0] + even;
    g[1] = (s[1] - s[2]) * T(0.5);
    g[2] = s[3] + even;
  }
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

// Row `Row` of the same: To vectors for write(column, vector).
template <typename T, int From, int To, int Row, typename Line, typename Read, typename Write>
HYPERCONV_INLINE void transform_tile_row(const Line& line, const Read& read, const Write& write) {
  Vector<T> half[From], target[To];
#pragma GCC unroll 6
  for (int column = 0; column < From; ++column) {
    Vector<T> source[From], all[To];
#pragma GCC unroll 6
    for (int row = 0; row < From; ++row) read(row, column, source[row]);
    line(source, all);
    half[column] = all[Row];
  }
  line(half, target);
#pragma GCC unroll 6
  for (int column = 0; column < To; ++column) write(column, target[column]);
}

}  // namespace hyperconv::HYPERCONV_ISA

// Small transposes, between channels in planes of their own and channels innermost.
#pragma once

#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

// Four elements, whatever the instruction set.
template <typename T>
struct QuadOf;
template <>
struct QuadOf<float> {
  typedef float type __attribute__((vector_size(16)));
  typedef int32_t index __attribute__((vector_size(16)));
};
template <>
struct QuadOf<double> {
  typedef double type __attribute__((vector_size(32)));
  typedef int64_t index __attribute__((vector_size(32)));
};
template <typename T>
using Quad = typename QuadOf<T>::type;

// a0 b0 a1 b1 and a2 b2 a3 b3.
template <typename T>
HYPERCONV_INLINE void zip(const Quad<T>& a, const Quad<T>& b, Quad<T>& low, Quad<T>& high) {
#if defined(__clang__)
  low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#else
  typedef typename QuadOf<T>::index Index;
  low = __builtin_shuffle(a, b, Index{0, 4, 1, 5});
  high = __builtin_shuffle(a, b, Index{2, 6, 3, 7});
#endif
}

// Channels that are moved together between the innermost place and their own planes: a vector of doubles may hold two.
template <typename T>
constexpr int channel_group = smaller(lanes<T>, 4);

// target[column * target_stride + row] = source[row * source_stride + column].
template <typename T, int Rows, int Columns>
HYPERCONV_INLINE void transpose(T* target, int64_t target_stride, const T* source, int64_t source_stride) {
  if constexpr (Rows == 4 && Columns == 4) {
    Quad<T> rows[4], half[4], columns[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) __builtin_memcpy(&rows[i], source + i * source_stride, sizeof(Quad<T>));
    zip<T>(rows[0], rows[2], half[0], half[1]);
    zip<T>(rows[1], rows[3], half[2], half[3]);
    zip<T>(half[0], half[2], columns[0], columns[1]);
    zip<T>(half[1], half[3], columns[2], columns[3]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) __builtin_memcpy(target + i * target_stride, &columns[i], sizeof(Quad<T>));
  } else {
    for (int row = 0; row < Rows; ++row)
      for (int column = 0; column < Columns; ++column)
        target[column * target_stride + row] = source[row * source_stride + column];
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

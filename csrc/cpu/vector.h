// Vectors of the instruction set this file is compiled for, and the shape of the register tiles that fit it.
#pragma once

#include <cstdint>

#if defined(__AVX512F__)
#define HYPERCONV_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define HYPERCONV_VECTOR_BYTES 32
#else
#define HYPERCONV_VECTOR_BYTES 16
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
#define HYPERCONV_VECTOR_REGISTERS 32
#else
#define HYPERCONV_VECTOR_REGISTERS 16
#endif

#define HYPERCONV_INLINE inline __attribute__((always_inline))

namespace hyperconv::HYPERCONV_ISA {

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(HYPERCONV_VECTOR_BYTES)));
  typedef int32_t index __attribute__((vector_size(HYPERCONV_VECTOR_BYTES)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(HYPERCONV_VECTOR_BYTES)));
  typedef int64_t index __attribute__((vector_size(HYPERCONV_VECTOR_BYTES)));
};
template <typename T>
using Vector = typename VectorOf<T>::type;

template <typename T>
constexpr int lanes = HYPERCONV_VECTOR_BYTES / sizeof(T);

template <typename T>
HYPERCONV_INLINE void load(Vector<T>& vector, const T* source) {
  __builtin_memcpy(&vector, source, sizeof(vector));
}

template <typename T>
HYPERCONV_INLINE void store(T* target, const Vector<T>& vector) {
  __builtin_memcpy(target, &vector, sizeof(vector));
}

// Sums of neighbouring lanes: those of `a` in the lower half, those of `b` in the upper half.
template <typename T>
HYPERCONV_INLINE void add_pairs(Vector<T>& a, const Vector<T>& b) {
#if defined(__clang__)
  Vector<T> even, odd;
  for (int i = 0; i < lanes<T> / 2; ++i) {
    even[i] = a[2 * i], odd[i] = a[2 * i + 1];
    even[i + lanes<T> / 2] = b[2 * i], odd[i + lanes<T> / 2] = b[2 * i + 1];
  }
  a = even + odd;
#else
  typename VectorOf<T>::index even;
  for (int i = 0; i < lanes<T>; ++i) even[i] = 2 * i;
  a = __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, even + 1);
#endif
}

// target[i] = sum of the lanes of vectors[i], for as many vectors as there are lanes; destroys them.
template <typename T>
HYPERCONV_INLINE void sum_lanes(Vector<T>* vectors, T* target) {
#pragma GCC unroll 16
  for (int count = lanes<T> / 2; count >= 1; count /= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i) {
      vectors[i] = vectors[2 * i];
      add_pairs<T>(vectors[i], vectors[2 * i + 1]);
    }
  }
  store(target, vectors[0]);
}

HYPERCONV_INLINE constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
HYPERCONV_INLINE constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// `total` channels cut into panels of at most `limit`, as even as possible: `wide` panels of `width` channels, then
// the rest of width - 1.
struct Panels {
  int64_t count, width, wide;
};
HYPERCONV_INLINE Panels cut_into_panels(int64_t total, int64_t limit) {
  if (total == 0) return {0, 1, 0};
  const int64_t count = (total + limit - 1) / limit;
  const int64_t width = (total + count - 1) / count;
  return {count, width, total - (width - 1) * count};
}
HYPERCONV_INLINE int64_t panel_start(const Panels& panels, int64_t panel) {
  return panel * panels.width - larger(0, panel - panels.wide);
}
HYPERCONV_INLINE int64_t panel_width(const Panels& panels, int64_t panel) {
  return panels.width - (panel >= panels.wide);
}

}  // namespace hyperconv::HYPERCONV_ISA

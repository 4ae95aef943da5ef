// Vectors of the instruction set this file is compiled for, and the shape of the register tiles that fit it.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>  // for the instructions that vector extensions have no words for
#endif

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

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define HYPERCONV_FUSED true
#else
#define HYPERCONV_FUSED false
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

HYPERCONV_INLINE constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
HYPERCONV_INLINE constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <typename T>
HYPERCONV_INLINE void load(Vector<T>& vector, const T* source) {
  __builtin_memcpy(&vector, source, sizeof(vector));
}

// For a vector of several uses, which the compiler would read from memory once for each.
template <typename T>
HYPERCONV_INLINE void load_once(Vector<T>& vector, const T* source) {
  load(vector, source);
#if defined(__AVX512F__)
  __asm__("" : "+v"(vector));
#elif defined(__AVX2__)
  __asm__("" : "+x"(vector));
#endif
}

template <typename T>
HYPERCONV_INLINE void store(T* target, const Vector<T>& vector) {
  __builtin_memcpy(target, &vector, sizeof(vector));
}

// value - 0 is `value` bit for bit, which value + 0 is not: the compiler makes it a plain broadcast.
template <typename T>
HYPERCONV_INLINE void broadcast(Vector<T>& vector, T value) {
  vector = value - Vector<T>{};
}

// The first `count` lanes, in memory that may end behind them: load_first leaves zeros in the others, copy_first copies
// that many elements. At least one, at most as many as there are lanes.
#if defined(__AVX512F__)
HYPERCONV_INLINE void load_first(Vector<float>& vector, const float* source, int64_t count) {
  vector = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), source);
}
HYPERCONV_INLINE void load_first(Vector<double>& vector, const double* source, int64_t count) {
  vector = _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), source);
}
HYPERCONV_INLINE void store_first(float* target, const Vector<float>& vector, int64_t count) {
  _mm512_mask_storeu_ps(target, static_cast<__mmask16>((1u << count) - 1), vector);
}
HYPERCONV_INLINE void store_first(double* target, const Vector<double>& vector, int64_t count) {
  _mm512_mask_storeu_pd(target, static_cast<__mmask8>((1u << count) - 1), vector);
}

template <typename T>
HYPERCONV_INLINE void copy_first(T* target, const T* source, int64_t count) {
  Vector<T> values;
  load_first(values, source, count);
  store_first(target, values, count);
}
#else
// Copies between N/2 + 1 and N elements as two overlapping halves.
template <int N, typename T>
HYPERCONV_INLINE void copy_halves(T* target, const T* source, int64_t count) {
  struct Half {
    T values[N / 2];
  } first, last;
  __builtin_memcpy(&first, source, sizeof(Half));
  __builtin_memcpy(&last, source + count - N / 2, sizeof(Half));
  __builtin_memcpy(target, &first, sizeof(Half));
  __builtin_memcpy(target + count - N / 2, &last, sizeof(Half));
}

template <typename T>
HYPERCONV_INLINE void copy_first(T* target, const T* source, int64_t count) {
  if (count > 4) return copy_halves<8>(target, source, count);
  if (count > 2) return copy_halves<4>(target, source, count);
  target[count - 1] = source[count - 1];
  target[0] = source[0];
}

// Two stores of halves and a load of both at once would wait for each other.
HYPERCONV_INLINE void load_first(Vector<float>& vector, const float* source, int64_t count) {
#if defined(__AVX2__)
  static const int32_t ones_and_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  __m256i present;
  __builtin_memcpy(&present, ones_and_zeros + 8 - count, sizeof(present));
  vector = _mm256_maskload_ps(source, present);
#else
  float values[lanes<float>] = {};
  copy_first(values, source, count);
  load(vector, values);
#endif
}
HYPERCONV_INLINE void load_first(Vector<double>& vector, const double* source, int64_t count) {
  double values[lanes<double>] = {};
  copy_first(values, source, count);
  load(vector, values);
}

// AVX2's masked stores are slow on some processors, and copies of a vector just stored are not.
template <typename T>
HYPERCONV_INLINE void store_first(T* target, const Vector<T>& vector, int64_t count) {
  T values[lanes<T>];
  store(values, vector);
  copy_first(target, values, count);
}
#endif

// Rows are short: no call, no loop over single elements.
template <typename T>
HYPERCONV_INLINE void copy_elements(T* __restrict target, const T* __restrict source, int64_t count) {
  if (count > lanes<T>) {
    Vector<T> value, last;
    load(last, source + count - lanes<T>);
    for (int64_t i = 0; i < count - lanes<T>; i += lanes<T>) {
      __asm__ volatile("");  // or the compiler makes the loop a call of memmove
      load(value, source + i);
      store(target + i, value);
    }
    store(target + count - lanes<T>, last);
  } else if (count > 0) {
    copy_first(target, source, count);
  }
}

template <typename T>
HYPERCONV_INLINE void fill_zero(T* target, int64_t count) {
  static const T zeros[lanes<T>] = {};
  for (; count > lanes<T>; count -= lanes<T>, target += lanes<T>) {
    __asm__ volatile("");
    store(target, Vector<T>{});
  }
  copy_elements(target, zeros, count);
}

// The even lanes of `a`, then the odd ones of `b`.
template <typename T>
HYPERCONV_INLINE void even_and_odd(Vector<T>& result, const Vector<T>& a, const Vector<T>& b) {
#if defined(__clang__)
  for (int i = 0; i < lanes<T> / 2; ++i) result[i] = a[2 * i], result[i + lanes<T> / 2] = b[2 * i + 1];
#else
  typename VectorOf<T>::index lane;
  for (int i = 0; i < lanes<T>; ++i) lane[i] = 2 * i + (i >= lanes<T> / 2);
  result = __builtin_shuffle(a, b, lane);
#endif
}

// The first `count` lanes, at least one, from every `stride`-th element, 1 or 2; zeros in the others. Nothing beyond the
// last of the elements is read.
template <typename T>
HYPERCONV_INLINE void load_strided(Vector<T>& vector, const T* source, int64_t stride, int64_t count) {
  if (stride == 1) return count < lanes<T> ? load_first(vector, source, count) : load(vector, source);
  Vector<T> first, second = {};
  const int64_t beyond = 2 * count - lanes<T>;
  if (beyond <= 0) {
    load_first(first, source, 2 * count - 1);
  } else {
    load(first, source);
    beyond < lanes<T> ? load_first(second, source + lanes<T> - 1, beyond) : load(second, source + lanes<T> - 1);
  }
  even_and_odd<T>(vector, first, second);
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

// One step of a product in a register tile: sum[m][v] += factors[m * stride] * the v-th vector from `source` on.
template <typename T, int M, int V>
HYPERCONV_INLINE void multiply_add(Vector<T> (&sum)[M][V], const T* source, const T* factors, int64_t stride) {
  Vector<T> x[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) load(x[v], source + v * lanes<T>);
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    Vector<T> factor;
    broadcast(factor, factors[m * stride]);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[m][v] += factor * x[v];
  }
}

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

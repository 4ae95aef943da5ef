// Storage types, the type their sums are kept in, and exact conversions between the two (round to nearest even).
// Integer arithmetic without branches, so that the compiler vectorises the loops around it on every CPU.
#pragma once

#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

struct bfloat16 {
  uint16_t bits;
};
struct float16 {
  uint16_t bits;
};

template <typename S>
struct SumOf {
  typedef float type;
};
template <>
struct SumOf<double> {
  typedef double type;
};
template <typename S>
using Sum = typename SumOf<S>::type;

HYPERCONV_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}
HYPERCONV_INLINE float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

HYPERCONV_INLINE float widen(float value) { return value; }
HYPERCONV_INLINE double widen(double value) { return value; }
HYPERCONV_INLINE float widen(bfloat16 value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }
HYPERCONV_INLINE float widen(float16 value) {
  constexpr uint32_t smallest_normal = 0x400u << 13, infinity = 0x7c00u << 13, rebias = 112u << 23;
  const uint32_t magnitude = (value.bits & 0x7fffu) << 13;
  const float subnormal = float_of(magnitude + rebias + (1u << 23)) - float_of(rebias + (1u << 23));
  const uint32_t normal = magnitude + rebias + (magnitude >= infinity ? rebias : 0u);
  const uint32_t bits = magnitude < smallest_normal ? bits_of(subnormal) : normal;
  return float_of(bits | (value.bits & 0x8000u) << 16);
}

HYPERCONV_INLINE void narrow(float& target, float value) { target = value; }
HYPERCONV_INLINE void narrow(double& target, double value) { target = value; }
HYPERCONV_INLINE void narrow(bfloat16& target, float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  target.bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
}
HYPERCONV_INLINE void narrow(float16& target, float value) {
  constexpr uint32_t nan_above = 0x7f800000u, infinite_from = 0x477ff000u, normal_from = 0x38800000u;
  const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
  const uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t half = magnitude < normal_from ? subnormal : normal;
  half = magnitude >= infinite_from ? 0x7c00u : half;
  half = magnitude > nan_above ? 0x7e00u : half;
  target.bits = static_cast<uint16_t>(half | (bits >> 16 & 0x8000u));
}

// The same for whole rows.
HYPERCONV_INLINE void widen_row(float* target, const float* source, int64_t count) {
  copy_elements(target, source, count);
}
HYPERCONV_INLINE void widen_row(double* target, const double* source, int64_t count) {
  copy_elements(target, source, count);
}
template <typename S>
HYPERCONV_INLINE void widen_row(float* __restrict target, const S* __restrict source, int64_t count) {
  for (int64_t i = 0; i < count; ++i) target[i] = widen(source[i]);
}

HYPERCONV_INLINE void narrow_row(float* target, const float* source, int64_t count) {
  copy_elements(target, source, count);
}
HYPERCONV_INLINE void narrow_row(double* target, const double* source, int64_t count) {
  copy_elements(target, source, count);
}
template <typename S>
HYPERCONV_INLINE void narrow_row(S* __restrict target, const float* __restrict source, int64_t count) {
  for (int64_t i = 0; i < count; ++i) narrow(target[i], source[i]);
}

}  // namespace hyperconv::HYPERCONV_ISA

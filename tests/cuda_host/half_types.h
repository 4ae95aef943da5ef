// __half and __nv_bfloat16, their pairs, and conversions with CUDA's rounding. Arithmetic on them is float's.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vector_types.h"

namespace cuda_host {

template <typename To, typename From>
To bits_of(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

inline uint16_t to_bfloat16_bits(float value) {
  const auto bits = bits_of<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_bfloat16_bits(uint16_t bits) { return bits_of<float>(static_cast<uint32_t>(bits) << 16); }

inline uint16_t to_half_bits(float value) {
  const auto bits = bits_of<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  uint32_t rounded;
  if (size > 0x7f800000) return 0x7fff;
  if (size >= 0x47800000) {  // 2^16 and more
    rounded = 0x7c00;
  } else if (size < 0x38800000) {  // below 2^-14 halves are multiples of 2^-24
    rounded = static_cast<uint32_t>(std::nearbyint(bits_of<float>(size) * 0x1p24f));
  } else {
    rounded = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | rounded);
}

inline float from_half_bits(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0) return (sign ? -0x1p-24f : 0x1p-24f) * static_cast<float>(fraction);
  const uint32_t biased = exponent == 0x1f ? 0xff : exponent + 112;
  return bits_of<float>(sign | biased << 23 | fraction << 13);
}

template <uint16_t (*ToBits)(float), float (*FromBits)(uint16_t)>
struct SixteenBits {
  uint16_t bits;

  SixteenBits() = default;
  template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
  SixteenBits(Number number) : bits(ToBits(static_cast<float>(number))) {}
  operator float() const { return FromBits(bits); }
};

template <typename Element>
struct alignas(4) Pair {
  Element x, y;

  Pair() = default;
  Pair(Element x, Element y) : x(x), y(y) {}
};

}  // namespace cuda_host

using __half = cuda_host::SixteenBits<cuda_host::to_half_bits, cuda_host::from_half_bits>;
using __nv_bfloat16 = cuda_host::SixteenBits<cuda_host::to_bfloat16_bits, cuda_host::from_bfloat16_bits>;
using __half2 = cuda_host::Pair<__half>;
using __nv_bfloat162 = cuda_host::Pair<__nv_bfloat16>;
using half = __half;
using half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

inline __half __float2half(float value) { return value; }
inline __half __float2half_rn(float value) { return value; }
inline float __half2float(__half value) { return value; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline __half2 __float22half2_rn(float2 pair) { return {pair.x, pair.y}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline float2 __half22float2(__half2 pair) { return {pair.x, pair.y}; }
inline float __low2float(__half2 pair) { return pair.x; }
inline float __high2float(__half2 pair) { return pair.y; }
inline uint16_t __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(uint16_t bits) { return cuda_host::bits_of<__half>(bits); }

inline __nv_bfloat16 __float2bfloat16(float value) { return value; }
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return value; }
inline float __bfloat162float(__nv_bfloat16 value) { return value; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 pair) { return {pair.x, pair.y}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 pair) { return {pair.x, pair.y}; }
inline float __low2float(__nv_bfloat162 pair) { return pair.x; }
inline float __high2float(__nv_bfloat162 pair) { return pair.y; }
inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(uint16_t bits) { return cuda_host::bits_of<__nv_bfloat16>(bits); }

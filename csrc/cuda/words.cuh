// What the kernels on tiles compute with: 32-bit words of one float or two 16-bit values, neighbours
// along the inner dimension of the matrix product. The fragments of m16n8k8 in TF32 and of m16n8k16 in 16 bits
// are then the same words at the same lanes, and one kernel serves all three dtypes.

#pragma once

#include <cstring>
#include <type_traits>

#include "numeric.cuh"

namespace hyperconv {

constexpr int kStep = 8;  // words along the inner dimension in one mma

template <typename T>
struct Words {
  static constexpr int kPack = 2;

  static __device__ __forceinline__ uint32_t pack(T low, T high) {
    uint16_t bits[2];
    memcpy(bits, &low, 2);
    memcpy(bits + 1, &high, 2);
    return bits[0] | static_cast<uint32_t>(bits[1]) << 16;
  }

  static __device__ __forceinline__ float low(uint32_t word) { return value(static_cast<uint16_t>(word)); }
  static __device__ __forceinline__ float high(uint32_t word) { return value(static_cast<uint16_t>(word >> 16)); }
  static __device__ __forceinline__ uint32_t operand(uint32_t word) { return word; }

 private:
  static __device__ __forceinline__ float value(uint16_t bits) {
    T number;
    memcpy(&number, &bits, 2);
    return static_cast<float>(number);
  }
};

template <>
struct Words<float> {
  static constexpr int kPack = 1;

  static __device__ __forceinline__ uint32_t pack(float value, float) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
  }

  static __device__ __forceinline__ float low(uint32_t word) {
    float value;
    memcpy(&value, &word, 4);
    return value;
  }
  static __device__ __forceinline__ float high(uint32_t) { return 0.0f; }
  static __device__ __forceinline__ uint32_t operand(uint32_t word) { return to_tf32(low(word)); }
};

template <typename T>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (sizeof(T) == 4) {
    mma_m16n8k8_tf32(d, a, b);
  } else if constexpr (std::is_same<T, __half>::value) {
    mma_m16n8k16_f16(d, a, b);
  } else {
    mma_m16n8k16_bf16(d, a, b);
  }
}

// Reads one value, masked; zero where not `valid`.
template <typename T>
__device__ __forceinline__ T read(const T* values, const T* mask, int64_t offset, int64_t mask_offset, bool valid,
                                  float slope) {
  if (!valid) return T(0.0f);
  const T value = values[offset];
  return mask == nullptr ? value : T(apply_mask(static_cast<float>(value), mask[mask_offset], slope));
}

}  // namespace hyperconv

// mma.sync, by the lane layouts of the PTX ISA ("Matrix multiply-accumulate operation using mma instruction").
// device.h says the same in words.

#pragma once

#include <cstdint>
#include <cstring>

#include "block.h"
#include "half_types.h"

namespace cuda_host {

// Element `number` of the two that a register holds.
inline uint16_t half_of(uint32_t word, int number) { return static_cast<uint16_t>(word >> (16 * number)); }

// Depth 16 in pairs of 16 bits, or depth 8 in words of 32. Products and sums are exact but for one rounding.
template <int Depth, typename Convert>
void multiply(const char* name, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place place,
              Convert convert) {
  struct Fragments {
    uint32_t a[4], b[2];
    float d[4];
  } own;
  std::memcpy(own.a, a, sizeof(a));
  std::memcpy(own.b, b, sizeof(b));
  std::memcpy(own.d, d, sizeof(d));
  machine.in_warp(name, place, 0xffffffffu, &own, [convert](void** all) {
    constexpr int kPerWord = Depth / 8;
    double left[16][Depth], right[Depth][8], sums[16][8];
    const auto sum_of = [&sums](int lane, int value) -> double& {
      return sums[lane / 4 + value / 2 * 8][lane % 4 * 2 + value % 2];
    };
    for (int lane = 0; lane < 32; ++lane) {
      if (!all[lane]) machine.fail("a matrix instruction needs all lanes of a warp");
      const auto* part = static_cast<Fragments*>(all[lane]);
      const int row = lane / 4, column = lane % 4 * kPerWord;
      for (int number = 0; number < kPerWord; ++number) {
        for (int word = 0; word < 4; ++word) {
          left[row + word % 2 * 8][column + word / 2 * 4 * kPerWord + number] = convert(part->a[word], number);
        }
        for (int word = 0; word < 2; ++word) {
          right[column + word * 4 * kPerWord + number][row] = convert(part->b[word], number);
        }
      }
      for (int value = 0; value < 4; ++value) sum_of(lane, value) = part->d[value];
    }
    for (int row = 0; row < 16; ++row) {
      for (int k = 0; k < Depth; ++k) {
        for (int column = 0; column < 8; ++column) sums[row][column] += left[row][k] * right[k][column];
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      for (int value = 0; value < 4; ++value) {
        static_cast<Fragments*>(all[lane])->d[value] = static_cast<float>(sum_of(lane, value));
      }
    }
  });
  std::memcpy(d, own.d, sizeof(d));
}

inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              Place place = Place::here()) {
  multiply<16>("mma.m16n8k16.bf16", d, a, b, place,
               [](uint32_t word, int number) { return from_bfloat16_bits(half_of(word, number)); });
}

inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             Place place = Place::here()) {
  multiply<16>("mma.m16n8k16.f16", d, a, b, place,
               [](uint32_t word, int number) { return from_half_bits(half_of(word, number)); });
}

inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             Place place = Place::here()) {
  multiply<8>("mma.m16n8k8.tf32", d, a, b, place,
              [](uint32_t word, int) { return bits_of<float>(word & 0xffffe000u); });
}

inline uint32_t to_tf32(float value) {
  const auto bits = bits_of<uint32_t>(value);
  const bool finite = (bits & 0x7f800000) != 0x7f800000;
  return finite ? (bits + 0x1000) & 0xffffe000u : bits;
}

}  // namespace cuda_host

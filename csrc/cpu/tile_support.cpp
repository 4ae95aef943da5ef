#include "tile_support.h"

#include "instruction_set.h"

#if defined(HYPERCONV_AMX) || defined(HYPERCONV_AVX512BF16)
#include <cpuid.h>

#include <cstring>

namespace hyperconv {
namespace {

// Small integers: exact in every order.
bool multiplies_like_the_emulation(const TileKernels& tiles) {
  alignas(64) uint16_t rows[512], pairs[512];
  alignas(64) float sums[256], expected[256];
  const auto whole = [](int value) {
    const float number = static_cast<float>(value);
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    return static_cast<uint16_t>(bits >> 16);
  };
  for (int i = 0; i < 512; ++i) {
    rows[i] = whole(i * 7 % 23 - 11);
    pairs[i] = whole(i * 5 % 19 - 9);
  }
  tiles.one_product(rows, pairs, sums);
  amx_emulated::tiles.one_product(rows, pairs, expected);
  return std::memcmp(sums, expected, sizeof(sums)) == 0;
}

}  // namespace
}  // namespace hyperconv
#endif

#if defined(HYPERCONV_AVX512BF16)

bool hyperconv::has_avx512bf16() {
  constexpr unsigned dot_products = 1u << 5;
  unsigned a, b, c, d;
  static const bool present = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & dot_products) && has_avx512() &&
                              multiplies_like_the_emulation(avx512bf16::tiles);
  return present;
}

#else

bool hyperconv::has_avx512bf16() { return false; }

#endif

#if defined(HYPERCONV_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

namespace hyperconv {
namespace {

bool processor_has_it() {
  constexpr unsigned os_saves_registers = 1u << 27, bfloat16_and_tiles = 1u << 22 | 1u << 24;
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & os_saves_registers) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         (d & bfloat16_and_tiles) == bfloat16_and_tiles;
}

bool system_saves_tiles() {
  constexpr unsigned shapes_and_data = 3u << 17;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & shapes_and_data) == shapes_and_data;
}

bool linux_permits() {
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM of Linux 5.16
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

const char* find_out() {
  if (!processor_has_it()) return "this processor has none";
  if (!has_avx512()) return "this processor has it, and not the AVX-512 that its kernels use as well";
  if (!system_saves_tiles() || !linux_permits()) return "this processor has it, and Linux does not permit its use";
  if (!multiplies_like_the_emulation(amx::tiles)) return "this processor has it, and a product came out wrong";
  return nullptr;
}

}  // namespace

const char* why_no_amx() {
  static const char* const reason = find_out();
  return reason;
}

}  // namespace hyperconv

#else

const char* hyperconv::why_no_amx() {
#if !defined(__x86_64__)
  return "it exists on x86-64 processors alone";
#elif !defined(__linux__)
  return "it is used under Linux alone";
#else
  return "the compiler of this library does not know it";
#endif
}

#endif

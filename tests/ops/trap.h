// What the handlers of instructions that a processor lacks share: registers, addresses, bfloat16, and the comparison.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

inline int carried_out = 0;

inline void refuse(const char* problem) {
  std::fprintf(stderr, "%s\n", problem);
  _exit(2);
}

// Denormal numbers count as zero.
inline float flushed(uint32_t bits) {
  if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline float flushed(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return flushed(bits);
}
inline float element(const uint8_t* bytes) { return flushed(static_cast<uint32_t>(bytes[0] | bytes[1] << 8) << 16); }

// The operand in memory of the instruction whose byte "mod, reg, rm" is code[0].
struct Address {
  char* bytes;
  int64_t stride;       // what an index register adds
  const uint8_t* next;  // instruction
};

inline Address address_of(const greg_t* state, const uint8_t* code, int high_base, int high_index, int scale_of_byte) {
  static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  const int mode = code[0] >> 6, rm = code[0] & 7;
  const uint8_t* next = code + 1;
  int base = rm | high_base;
  int64_t stride = 0;
  if (rm == 4) {
    const int scale = *next >> 6, index = (*next >> 3 & 7) | high_index;
    base = (*next & 7) | high_base;
    if (index != 4) stride = state[registers[index]] << scale;
    ++next;
  }
  if (mode == 0 && (base & 7) == 5) refuse("an address without a base register");
  int32_t displacement = 0;
  if (mode == 1) displacement = static_cast<int8_t>(*next) * scale_of_byte, next += 1;
  if (mode == 2) std::memcpy(&displacement, next, 4), next += 4;
  return {reinterpret_cast<char*>(state[registers[base]]) + displacement, stride, next};
}

using Exercise = void (*)(const char* factors, char* sums, int64_t stride);

// Runs `own`, whose instructions `handler` carries out where the processor lacks them, beside `emulation`; prints how
// many came to the handler. 0 where both agree bit for bit.
inline int compare(Exercise own, Exercise emulation, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);

  constexpr int64_t stride = 80, bytes = 4 * 16 * stride;
  static char factors[bytes], sums[2][bytes];
  std::srand(0);
  for (int64_t i = 0; i < bytes; i += 2) {  // signs, exponents of 2^-31 to 2^32, sometimes 0 or a denormal number
    const int bits = std::rand();
    const uint16_t value = (bits & 0x807f) | (bits >> 16 & 15 ? (96 + (bits >> 20 & 63)) << 7 : 0);
    std::memcpy(factors + i, &value, sizeof(value));
    const uint16_t sum = i % 4 ? value : static_cast<uint16_t>(bits >> 3);
    std::memcpy(sums[0] + i, &sum, sizeof(sum));
  }
  std::memcpy(sums[1], sums[0], bytes);
  own(factors, sums[0], stride);
  emulation(factors, sums[1], stride);
  std::printf("%d instructions carried out here\n", carried_out);
  if (std::memcmp(sums[0], sums[1], bytes) != 0) refuse("the instructions and their emulation differ");
  return 0;
}

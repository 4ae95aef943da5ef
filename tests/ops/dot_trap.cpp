// VDPBF16PS beside its emulation on any x86-64 Linux machine: where the processor lacks it and the registers it works
// on, the process is sent SIGILL, and the handler below carries out what it reads in the machine code.
#include "trap.h"

#include <cmath>

namespace hyperconv {
namespace avx512bf16 { void exercise(const char* factors, char* sums, int64_t stride); }
namespace avx512bf16_emulated { void exercise(const char* factors, char* sums, int64_t stride); }
}  // namespace hyperconv

namespace {

uint8_t zmm[32][64];

// sums[i] += pairs[i] . other, one 32-bit word of memory for all; both additions are fused.
void add_dots(uint8_t* sums, const uint8_t* pairs, const uint8_t* other) {
  for (int i = 0; i < 16; ++i) {
    float sum;
    std::memcpy(&sum, sums + 4 * i, sizeof(sum));
    sum = flushed(sum);
    sum = flushed(std::fma(element(pairs + 4 * i + 2), element(other + 2), sum));
    sum = flushed(std::fma(element(pairs + 4 * i), element(other), sum));
    std::memcpy(sums + 4 * i, &sum, sizeof(sum));
  }
}

void carry_out(int, siginfo_t*, void* context) {
  greg_t* state = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const uint8_t* code = reinterpret_cast<const uint8_t*>(state[REG_RIP]);
  // 62 | R X B R' inverted, map | W, vvvv inverted, 1, prefix | z, L = 512, b, V' inverted, mask | opcode |
  // mod, reg, rm
  if (code[0] != 0x62 || (code[1] & 0x0c) != 0 || (code[2] & 0x84) != 4 || (code[3] & 0xe7) != 0x40)
    refuse("no instruction on whole registers of 512 bits");
  const int map = code[1] & 3, prefix = code[2] & 3, opcode = code[4];
  const bool broadcast = code[3] & 0x10;
  const int target = (code[5] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8) | (code[1] & 0x10 ? 0 : 16);
  const int source = (~code[2] >> 3 & 15) | (code[3] & 8 ? 0 : 16);
  if (code[5] >> 6 == 3) refuse("an instruction without memory");
  const Address memory =
      address_of(state, code + 5, code[1] & 0x20 ? 0 : 8, code[1] & 0x40 ? 0 : 8, broadcast ? 4 : 64);
  char* const bytes = memory.bytes + memory.stride;
  if (map == 1 && prefix == 0 && opcode == 0x10 && !broadcast) {
    std::memcpy(zmm[target], bytes, 64);
  } else if (map == 1 && prefix == 0 && opcode == 0x11 && !broadcast) {
    std::memcpy(bytes, zmm[target], 64);
  } else if (map == 2 && prefix == 2 && opcode == 0x52 && broadcast) {
    add_dots(zmm[target], zmm[source], reinterpret_cast<const uint8_t*>(bytes));
  } else {
    refuse("an instruction that no kernel uses");
  }
  ++carried_out;
  state[REG_RIP] = reinterpret_cast<greg_t>(memory.next);
}

}  // namespace

int main() {
  return compare(hyperconv::avx512bf16::exercise, hyperconv::avx512bf16_emulated::exercise, carry_out);
}

// AMX's instructions beside their emulation on any x86-64 Linux machine: where the processor lacks them, the process is
// sent SIGILL, and the handler below carries out what it reads in the machine code.
#include "trap.h"

namespace hyperconv {
namespace amx { void exercise(const char* factors, char* sums, int64_t stride); }
namespace amx_emulated { void exercise(const char* factors, char* sums, int64_t stride); }
}  // namespace hyperconv

namespace {

uint8_t tile[8][16][64];
bool configured = false;

void multiply(int sums, int rows, int pairs) {
  if (sums == rows || sums == pairs || rows == pairs) refuse("a product of fewer than three tiles");
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      float halves[2] = {}, sum;
      for (int k = 0; k < 16; ++k)
        for (int half = 0; half < 2; ++half)
          halves[half] = flushed(halves[half] + element(&tile[rows][m][4 * k + 2 * half]) *
                                                    element(&tile[pairs][k][4 * n + 2 * half]));
      std::memcpy(&sum, &tile[sums][m][4 * n], sizeof(sum));
      sum = flushed(flushed(sum) + flushed(halves[0] + halves[1]));
      std::memcpy(&tile[sums][m][4 * n], &sum, sizeof(sum));
    }
  }
}

// Palette 1 and full tiles, zeros elsewhere: anything else is an error of the processor's, or of ours.
void configure(const uint8_t* shapes) {
  uint8_t expected[64] = {1};
  for (int i = 0; i < 8; ++i) expected[16 + 2 * i] = 64, expected[48 + i] = 16;
  if (std::memcmp(shapes, expected, sizeof(expected)) != 0) refuse("shapes of tiles that are not all full");
  std::memset(tile, 0, sizeof(tile));
  configured = true;
}

void carry_out(int, siginfo_t*, void* context) {
  greg_t* state = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const uint8_t *code = reinterpret_cast<const uint8_t*>(state[REG_RIP]), *next = code + 5;
  // C4 | R X B inverted, map 2 | W = 0, vvvv inverted, L = 0, prefix | opcode | mod, reg, rm
  if (code[0] != 0xc4 || (code[1] & 0x9f) != 0x82 || (code[2] & 0x84) != 0) refuse("no instruction of AMX");
  const int high_index = code[1] & 0x40 ? 0 : 8, high_base = code[1] & 0x20 ? 0 : 8;
  const int other = (~code[2] >> 3) & 15, prefix = code[2] & 3, opcode = code[3];
  const int mode = code[4] >> 6, reg = code[4] >> 3 & 7, rm = code[4] & 7;
  char* address = nullptr;
  int64_t stride = 0;
  if (mode != 3) {
    const Address operand = address_of(state, code + 4, high_base, high_index, 1);
    address = operand.bytes, stride = operand.stride, next = operand.next;
  }
  const bool load = prefix == 3;
  if (opcode == 0x49 && prefix == 0 && mode != 3) {
    configure(reinterpret_cast<uint8_t*>(address + stride));
  } else if (!configured) {
    refuse("tiles used before they have shapes");
  } else if (opcode == 0x49 && prefix == 0 && code[4] == 0xc0) {
    configured = false;
  } else if (opcode == 0x4b && (load || prefix == 2) && mode != 3 && rm == 4) {
    for (int row = 0; row < 16; ++row, address += stride)
      load ? std::memcpy(tile[reg][row], address, 64) : std::memcpy(address, tile[reg][row], 64);
  } else if (opcode == 0x49 && prefix == 3 && mode == 3 && rm == 0) {
    std::memset(tile[reg], 0, sizeof(tile[reg]));
  } else if (opcode == 0x5c && prefix == 2 && mode == 3) {
    multiply(reg, rm, other);
  } else {
    refuse("an instruction of AMX that no kernel uses");
  }
  ++carried_out;
  state[REG_RIP] = reinterpret_cast<greg_t>(next);
}

}  // namespace

int main() {
  syscall(SYS_arch_prctl, 0x1023, 18);  // for the processors that have them; see csrc/cpu/tile_support.cpp
  return compare(hyperconv::amx::exercise, hyperconv::amx_emulated::exercise, carry_out);
}

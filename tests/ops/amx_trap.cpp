// AMX's instructions beside their emulation on any x86-64 Linux machine: where the processor lacks them, the process is
// sent SIGILL, and the handler below carries out what it reads in the machine code.
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hyperconv {
namespace amx { void exercise(const char* factors, char* sums, int64_t stride); }
namespace emulated { void exercise(const char* factors, char* sums, int64_t stride); }
}  // namespace hyperconv

namespace {

uint8_t tile[8][16][64];
bool configured = false;
int carried_out = 0;

void refuse(const char* problem) {
  std::fprintf(stderr, "%s\n", problem);
  _exit(2);
}

float flushed(uint32_t bits) {
  if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
float flushed(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return flushed(bits);
}
float element(const uint8_t* bytes) { return flushed(static_cast<uint32_t>(bytes[0] | bytes[1] << 8) << 16); }

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
  static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
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
    int base = rm | high_base;
    if (rm == 4) {
      const int scale = *next >> 6, index = (*next >> 3 & 7) | high_index;
      base = (*next & 7) | high_base;
      if (index != 4) stride = state[registers[index]] << scale;
      ++next;
    }
    if (mode == 0 && (base & 7) == 5) refuse("an address without a base register");
    address = reinterpret_cast<char*>(state[registers[base]]);
    int32_t displacement = 0;
    if (mode == 1) displacement = static_cast<int8_t>(*next), next += 1;
    if (mode == 2) std::memcpy(&displacement, next, 4), next += 4;
    address += displacement;
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
  syscall(SYS_arch_prctl, 0x1023, 18);  // for the processors that have them; see csrc/cpu/amx.cpp
  struct sigaction action = {};
  action.sa_sigaction = carry_out;
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
  hyperconv::amx::exercise(factors, sums[0], stride);
  hyperconv::emulated::exercise(factors, sums[1], stride);
  std::printf("%d instructions carried out here\n", carried_out);
  if (std::memcmp(sums[0], sums[1], bytes) != 0) refuse("AMX and its emulation differ");
  return 0;
}

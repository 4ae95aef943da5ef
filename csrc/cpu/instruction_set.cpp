#include "instruction_set.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "tile_support.h"

namespace hyperconv {

bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

namespace {

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
const Kernels& widest() {
  return has_avx512() ? avx512::kernels : has_avx2() ? avx2::kernels : baseline::kernels;
}
#else
const Kernels& widest() { return baseline::kernels; }
#endif

struct Candidate {
  Kernels kernels;
  bool (*supported)();
  bool only_by_name = false;
};

Kernels with_tiles(const char* name, Kernels kernels, const TileKernels& tiles) {
  kernels.name = name;
  kernels.tiles = &tiles;
  return kernels;
}

// Best first. Emulations are for tests. AVX512-BF16 has half of float32's instructions for a sum, and Winograd's
// algorithm a third of its products: on a Zen 4 it took 1.3 times as long, so it has to be asked for, too.
const std::vector<Candidate>& candidates() {
  static const std::vector<Candidate> all{
#if defined(HYPERCONV_AMX)
      {with_tiles("amx", avx512::kernels, amx::tiles), [] { return !why_no_amx(); }},
#endif
#if defined(__x86_64__)
      {avx512::kernels, has_avx512},
      {avx2::kernels, has_avx2},
#endif
      {baseline::kernels, always},
#if defined(HYPERCONV_AVX512BF16)
      {with_tiles("avx512-bf16", avx512::kernels, avx512bf16::tiles), has_avx512bf16, true},
#endif
      {with_tiles("amx-emulated", widest(), amx_emulated::tiles), always, true},
      {with_tiles("avx512-bf16-emulated", widest(), avx512bf16_emulated::tiles), always, true},
  };
  return all;
}

struct Choice {
  const Kernels* kernels = nullptr;
  std::string problem;
};

Choice choose() {
  const char* setting = std::getenv("HYPERCONV_CPU_ISA");
  const std::string forced = setting ? setting : "";
  std::string usable;
  for (const Candidate& candidate : candidates()) {
    const bool wanted = forced.empty() ? !candidate.only_by_name : forced == candidate.kernels.name;
    if (wanted && candidate.supported()) return {&candidate.kernels, ""};
  }
  for (const Candidate& candidate : candidates())
    if (candidate.supported()) usable += (usable.empty() ? "" : ", ") + std::string(candidate.kernels.name);
  return {nullptr, "HYPERCONV_CPU_ISA=" + forced + " cannot run on this machine: set it to one of " + usable +
                       ", or unset it"};
}

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

const Kernels& kernels() {
  if (!choice().kernels) throw std::runtime_error(choice().problem);
  return *choice().kernels;
}

}  // namespace hyperconv

const char* hyperconv_cpu_isa() {
  const auto* kernels = hyperconv::choice().kernels;
  return kernels ? kernels->name : nullptr;
}

const char* hyperconv_cpu_isa_problem() {
  const auto& choice = hyperconv::choice();
  return choice.kernels ? nullptr : choice.problem.c_str();
}

const char* hyperconv_cpu_why_no_amx() { return hyperconv::why_no_amx(); }

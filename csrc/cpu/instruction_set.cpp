#include "instruction_set.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace hyperconv {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool supported;
};

// Best first.
#if defined(__x86_64__)
const Candidate candidates[] = {
    {&avx512::kernels, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                           __builtin_cpu_supports("fma")},
    {&avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
    {&baseline::kernels, true},
};
#else
const Candidate candidates[] = {{&baseline::kernels, true}};
#endif

struct Choice {
  const Kernels* kernels = nullptr;
  std::string problem;
};

Choice choose() {
  const char* setting = std::getenv("HYPERCONV_CPU_ISA");
  const std::string forced = setting ? setting : "";
  std::string usable;
  for (const Candidate& candidate : candidates) {
    if (!candidate.supported) continue;
    if (forced.empty() || forced == candidate.kernels->name) return {candidate.kernels, ""};
    usable += (usable.empty() ? "" : ", ") + std::string(candidate.kernels->name);
  }
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

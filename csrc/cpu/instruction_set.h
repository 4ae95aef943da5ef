// Which instruction set this process uses: the best the CPU has, or what HYPERCONV_CPU_ISA names.
#pragma once

#include "interface.h"

namespace hyperconv {

// Throws with one line that says what to do when HYPERCONV_CPU_ISA names a set that this build or CPU lacks.
const Kernels& kernels();

// Whether this processor runs the kernels of that name, and of "amx" and "avx512-bf16" but for their tiles.
bool has_avx512();

}  // namespace hyperconv

// For ctypes: the name of the set in use ("amx", "avx512", "avx2", "baseline" or what was asked for), or nullptr where there is a problem to
// read; and why "amx" cannot be used, nullptr where it can.
extern "C" __attribute__((visibility("default"))) const char* hyperconv_cpu_isa();
extern "C" __attribute__((visibility("default"))) const char* hyperconv_cpu_isa_problem();
extern "C" __attribute__((visibility("default"))) const char* hyperconv_cpu_why_no_amx();

// Which instruction set this process uses: the best the CPU has, or what HYPERCONV_CPU_ISA names.
#pragma once

#include "interface.h"

namespace hyperconv {

// Throws with one line that says what to do when HYPERCONV_CPU_ISA names a set that this build or CPU lacks.
const Kernels& kernels();

}  // namespace hyperconv

// For ctypes: the name of the set in use ("baseline", "avx2", "avx512"), or nullptr where there is a problem to read.
extern "C" __attribute__((visibility("default"))) const char* hyperconv_cpu_isa();
extern "C" __attribute__((visibility("default"))) const char* hyperconv_cpu_isa_problem();

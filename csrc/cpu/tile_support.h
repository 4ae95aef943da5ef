// Whether this process may use a processor's instructions for matrix tiles; the first question compares one product
// with the emulation's.
#pragma once

namespace hyperconv {

// AMX, from Intel's Sapphire Rapids on. nullptr where it may, else the reason in a few words; Linux is asked for
// permission, which holds for all threads of the process.
const char* why_no_amx();

// VDPBF16PS of AVX512-BF16: Intel's Cooper Lake, Sapphire Rapids and later, AMD's from Zen 4 on.
bool has_avx512bf16();

}  // namespace hyperconv

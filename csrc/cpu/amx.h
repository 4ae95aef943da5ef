// Whether this process may use AMX, the matrix tiles of Intel's processors from Sapphire Rapids on.
#pragma once

namespace hyperconv {

// nullptr where it may, else the reason in a few words. The first call asks Linux for permission, which holds for all
// threads of the process, and compares one product with the emulation's.
const char* why_no_amx();

}  // namespace hyperconv

// Reusable memory of the calling thread: fresh pages cost more than the small layers they would serve.
#pragma once

#include <cstddef>

namespace hyperconv {

// At least `bytes` bytes, 64-byte aligned, uninitialised, until the same thread asks for the same slot again.
void* scratch(int slot, size_t bytes);

// Frees what the calling thread holds beyond a bound.
void trim_scratch();

// Does so when an operation ends, however it ends.
struct Trim {
  ~Trim() { trim_scratch(); }
};

}  // namespace hyperconv

// Threads, scratch memory and cache size for the kernels.
#pragma once

#include "interface.h"

namespace hyperconv {

const Runtime& runtime();
int64_t thread_count();

// Bytes that a block of work may keep in the cache of one core.
int64_t cache_bytes();

}  // namespace hyperconv

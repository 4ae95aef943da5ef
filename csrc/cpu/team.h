// Threads that share the units of one call.
#pragma once

#include <cstdint>

namespace hyperconv {

// body(context, unit, unit + 1) for every unit in [0, count), on the calling thread and at most `threads` - 1 others.
//
// A thread takes one unit after another, and the call returns when all units are done: a helper whose core is busy with
// something else takes few or none, and nobody waits for it to wake up. (A parallel region of OpenMP ends only when
// every thread of it has run: beside one busy neighbour on two cores that made a call of 1 ms last 20.)
void share(int64_t count, int64_t threads, void (*body)(void*, int64_t, int64_t), void* context);

}  // namespace hyperconv

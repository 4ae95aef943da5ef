// The kernels as operations.cu calls them; each function is a translation unit of its own.

#pragma once

#include "launch.h"
#include "parts.cuh"
#include "problem.h"

namespace hyperconv {

// The halo of a tile in shared memory, on tensor cores or in float32; false where no tile fits into the shared
// memory there is.
bool correlate_tile(const Correlation& problem, const Limits& limits, Stream stream);
bool accumulate_tile(const Accumulation& problem, const Parts& parts, const Limits& limits, Stream stream);

// Every product's factors gathered one by one: for all that the others do not take.
void correlate_gather(const Correlation& problem, bool in_int, Stream stream);
void accumulate_gather(const Accumulation& problem, const Parts& parts, bool in_int, Stream stream);

void bias_sum(const BiasSum& problem, const Parts& parts, Stream stream);
void sum_parts(Dtype dtype, const Parts& parts, Stream stream);

}  // namespace hyperconv

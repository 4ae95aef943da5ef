// The kernels as operations.cu calls them; each function is a translation unit of its own.

#pragma once

#include "launch.h"
#include "parts.cuh"
#include "problem.h"

namespace hyperconv {

void correlate_simt(const Correlation& problem, bool in_int, Stream stream);
void accumulate_simt(const Accumulation& problem, const Parts& parts, bool in_int, Stream stream);
void bias_sum(const BiasSum& problem, const Parts& parts, Stream stream);
void sum_parts(Dtype dtype, const Parts& parts, Stream stream);

// False where no tile fits into `shared_limit` bytes of shared memory.
bool correlate_tensor(const Correlation& problem, int shared_limit, Stream stream);
bool accumulate_tensor(const Accumulation& problem, const Parts& parts, int shared_limit, Stream stream);

}  // namespace hyperconv

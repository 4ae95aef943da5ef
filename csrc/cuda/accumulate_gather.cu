#include "accumulate_gather.cuh"

#include "bias_sum.cuh"
#include "kernels.h"
#include "types.cuh"

namespace hyperconv {

void accumulate_gather(const Accumulation& problem, const Parts& parts, bool in_int, Stream stream) {
  with_type(problem.dtype, [&](auto zero) {
    launch_accumulate_gather<decltype(zero)>(problem, parts, in_int, stream);
  });
}

void bias_sum(const BiasSum& problem, const Parts& parts, Stream stream) {
  with_type(problem.dtype, [&](auto zero) { launch_bias_sum<decltype(zero)>(problem, parts, stream); });
}

void sum_parts(Dtype dtype, const Parts& parts, Stream stream) {
  with_type(dtype, [&](auto zero) { launch_sum_parts<decltype(zero)>(parts, stream); });
}

}  // namespace hyperconv

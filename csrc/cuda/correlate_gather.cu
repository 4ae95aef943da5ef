#include "correlate_gather.cuh"

#include "kernels.h"
#include "types.cuh"

namespace hyperconv {

void correlate_gather(const Correlation& problem, bool in_int, Stream stream) {
  with_type(problem.dtype, [&](auto zero) { launch_correlate_gather<decltype(zero)>(problem, in_int, stream); });
}

}  // namespace hyperconv

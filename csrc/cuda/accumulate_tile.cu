#include "accumulate_tile.cuh"

#include "kernels.h"

namespace hyperconv {

bool accumulate_tile(const Accumulation& problem, const Parts& parts, const Limits& limits, Stream stream) {
  switch (problem.dtype) {
    case Dtype::bfloat16: return accumulate_on_tensor_cores<__nv_bfloat16>(problem, parts, limits, stream);
    case Dtype::float16: return accumulate_on_tensor_cores<__half>(problem, parts, limits, stream);
    case Dtype::float32:
      return problem.tf32 ? accumulate_on_tensor_cores<float>(problem, parts, limits, stream)
                          : accumulate_in_float32(problem, parts, limits, stream);
    default: return false;
  }
}

}  // namespace hyperconv

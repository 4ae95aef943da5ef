#include "accumulate_tile.cuh"

#include "kernels.h"

namespace hyperconv {

bool accumulate_tile(const Accumulation& problem, const Parts& parts, int shared_limit, Stream stream) {
  switch (problem.dtype) {
    case Dtype::bfloat16: return accumulate_on_tensor_cores<__nv_bfloat16>(problem, parts, shared_limit, stream);
    case Dtype::float16: return accumulate_on_tensor_cores<__half>(problem, parts, shared_limit, stream);
    case Dtype::float32:
      return problem.tf32 ? accumulate_on_tensor_cores<float>(problem, parts, shared_limit, stream)
                          : accumulate_in_float32(problem, parts, shared_limit, stream);
    default: return false;
  }
}

}  // namespace hyperconv

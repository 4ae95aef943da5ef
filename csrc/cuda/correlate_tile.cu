#include "correlate_tile.cuh"

#include "kernels.h"

namespace hyperconv {

bool correlate_tile(const Correlation& problem, const Limits& limits, Stream stream) {
  switch (problem.dtype) {
    case Dtype::bfloat16: return correlate_on_tensor_cores<__nv_bfloat16>(problem, limits, stream);
    case Dtype::float16: return correlate_on_tensor_cores<__half>(problem, limits, stream);
    case Dtype::float32:
      return problem.tf32 ? correlate_on_tensor_cores<float>(problem, limits, stream)
                          : correlate_in_float32(problem, limits, stream);
    default: return false;
  }
}

}  // namespace hyperconv

#include "correlate_tensor.cuh"

#include "kernels.h"
#include "types.cuh"

namespace hyperconv {

bool correlate_tensor(const Correlation& problem, int shared_limit, Stream stream) {
  return with_tensor_type(problem.dtype, [&](auto zero) {
    return launch_correlate_tensor<decltype(zero)>(problem, tensor_shape(problem), shared_limit, stream);
  });
}

}  // namespace hyperconv

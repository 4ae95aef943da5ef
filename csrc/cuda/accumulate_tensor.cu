#include "accumulate_tensor.cuh"

#include "kernels.h"
#include "types.cuh"

namespace hyperconv {

bool accumulate_tensor(const Accumulation& problem, const Parts& parts, int shared_limit, Stream stream) {
  return with_tensor_type(problem.dtype, [&](auto zero) {
    return launch_accumulate_tensor<decltype(zero)>(problem, parts, product_kind(problem), shared_limit, stream);
  });
}

}  // namespace hyperconv

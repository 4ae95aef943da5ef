// From a dtype known at run time to the types of the kernels.

#pragma once

#include "launch.h"
#include "problem.h"

namespace hyperconv {

// run(T{}) with the T of a dtype.
template <typename Run>
auto with_type(Dtype dtype, const Run& run) {
  switch (dtype) {
    case Dtype::float64: return run(double{});
    case Dtype::bfloat16: return run(__nv_bfloat16{});
    case Dtype::float16: return run(__half{});
    default: return run(float{});
  }
}

}  // namespace hyperconv

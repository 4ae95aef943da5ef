// Adds the CPU kernels to the operations that hyperconv/ops/schema.py defines.
#include <torch/csrc/stable/library.h>

#include "operations.h"

STABLE_TORCH_LIBRARY_IMPL(hyperconv_native, CPU, library) {
  library.impl("conv2d", TORCH_BOX(&hyperconv::conv2d));
  library.impl("masked_conv2d", TORCH_BOX(&hyperconv::masked_conv2d));
  library.impl("input_gradient", TORCH_BOX(&hyperconv::input_gradient));
  library.impl("weight_gradient", TORCH_BOX(&hyperconv::weight_gradient));
  library.impl("bias_gradient", TORCH_BOX(&hyperconv::bias_gradient));
  library.impl("parameter_gradients", TORCH_BOX(&hyperconv::parameter_gradients));
  library.impl("gradients_at_once", TORCH_BOX(&hyperconv::gradients_at_once));
}

// Apart from arguments.h, for the kernels: no function body, nothing of torch.
#pragma once

namespace hyperconv {

enum class Dtype { float32, float64, bfloat16, float16 };

}  // namespace hyperconv

#include "answers.h"

#include "algorithm.h"
#include "geometry.h"

namespace hyperconv {
namespace {

const char* name(Way way) {
  switch (way) {
    case Way::tiles: return "tiles";
    case Way::planes: return "planes";
    case Way::winograd: return "winograd";
    case Way::columns: return "columns";
    case Way::pairs: return "pairs";
    default: return "direct";
  }
}

Way way_of(Product product, const int64_t* layer) {
  const int64_t *input = layer + 3, *output = input + 2, *kernel = output + 2, *stride = kernel + 2,
                *padding = stride + 2, *dilation = padding + 2;
  const auto forward = [&](int i) { return forward_taps(output[i], kernel[i], stride[i], padding[i], dilation[i]); };
  const auto transposed = [&](int i) {
    return transposed_taps(input[i], padding[i] % stride[i], kernel[i], stride[i], padding[i], dilation[i]);
  };
  const int64_t samples = layer[0], in = layer[1], out = layer[2];
  const Layer own{Dtype::float32, samples, in, out};
  switch (product) {
    case Product::convolution: return correlation_algorithm(product, forward(0), forward(1), own).way;
    case Product::input_gradient:
      if (scatters(forward(0), forward(1), own)) return Way::columns;
      return correlation_algorithm(product, transposed(0), transposed(1), {Dtype::float32, samples, out, in}).way;
    default: return accumulation_algorithm(forward(0), forward(1), own).way;
  }
}

}  // namespace
}  // namespace hyperconv

const char* hyperconv_cpu_algorithm(int64_t product, const int64_t* layer) {
  return hyperconv::name(hyperconv::way_of(static_cast<hyperconv::Product>(product), layer));
}

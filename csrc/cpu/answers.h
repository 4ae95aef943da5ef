// What hyperconv/ops/cpu_rule.py asks this library before it leaves a call to it.
#pragma once

#include <cstdint>

// How a float32 layer would be computed: "tiles", "planes", "winograd", "columns", "pairs" or "direct".
// product: 0 the convolution, 1 its gradient by input, 2 by weight. layer: of one group and weight set, samples, input
// channels, output channels; then, each for rows and columns, the sizes of input and output, kernel, stride, padding,
// dilation.
extern "C" __attribute__((visibility("default"))) const char* hyperconv_cpu_algorithm(int64_t product,
                                                                                       const int64_t* layer);

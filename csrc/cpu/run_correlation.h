// A correlation on its way to a kernel: the algorithm, and the blocks and tiles it works on.
#pragma once

#include "algorithm.h"
#include "arguments.h"
#include "geometry.h"
#include "interface.h"

namespace hyperconv {

// `work` without window, taps, blocks and tiles, for the outputs of rows x columns; `weight` for its last two strides.
void run_correlation(Correlation& work, Product product, const AxisTaps& rows, const AxisTaps& columns,
                     const Tensor& weight);

// The gradient of an input by columns.h, all at once; rows and columns are those of the convolution. Whether it did.
bool run_scatter(Correlation& work, const AxisTaps& rows, const AxisTaps& columns, const Tensor& weight);

}  // namespace hyperconv

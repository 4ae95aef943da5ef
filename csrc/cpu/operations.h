// The six operations on tensors: arguments checked, output allocated, work described for the kernels.
// Shapes and formulas are those of hyperconv/ops/schema.py.
#pragma once

#include <tuple>

#include "../arguments.h"

namespace hyperconv {

Tensor conv2d(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, const Ints& stride,
              const Ints& padding, const Ints& dilation, int64_t groups, int64_t activation, double negative_slope);
Tensor masked_conv2d(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, const MaybeTensor& mask,
                     const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups,
                     double negative_slope);
Tensor input_gradient(const Tensor& grad, const Tensor& weight, const MaybeTensor& mask, const Ints& input_size,
                      const Ints& stride, const Ints& padding, const Ints& dilation, int64_t groups,
                      double negative_slope);
Tensor weight_gradient(const Tensor& grad, const Tensor& input, const MaybeTensor& mask, int64_t weight_sets,
                       const Ints& kernel_size, const Ints& stride, const Ints& padding, const Ints& dilation,
                       int64_t groups, double negative_slope);
Tensor bias_gradient(const Tensor& grad, const MaybeTensor& mask, int64_t weight_sets, double negative_slope);
std::tuple<Tensor, Tensor> parameter_gradients(const Tensor& grad, const Tensor& input, const MaybeTensor& mask,
                                               int64_t weight_sets, const Ints& kernel_size, const Ints& stride,
                                               const Ints& padding, const Ints& dilation, int64_t groups,
                                               double negative_slope);
// What input_gradient and parameter_gradients give, for the price of one call: half of a small layer's time.
std::tuple<Tensor, Tensor, Tensor> gradients_at_once(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                     const MaybeTensor& mask, const Ints& stride, const Ints& padding,
                                                     const Ints& dilation, int64_t groups, double negative_slope);

}  // namespace hyperconv

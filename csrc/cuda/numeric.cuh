// Numbers: the type of sums, the activation and the mask of an activation.

#pragma once

#include <cmath>

#include "launch.h"
#include "problem.h"

namespace hyperconv {

template <typename T>
struct Sum {
  using type = float;
};
template <>
struct Sum<double> {
  using type = double;
};

template <typename T>
using sum_t = typename Sum<T>::type;

// PyTorch's own definitions: NaN passes every one of them.
template <typename S>
__device__ __forceinline__ S activate(S value, int activation, S negative_slope) {
  switch (activation) {
    case kRelu: return value < S(0) ? S(0) : value;
    case kLeakyRelu: return value > S(0) ? value : negative_slope * value;
    case kTanh: return tanh(value);
    default: return value;
  }
}

// m * value, for the output `y` of a ReLU or LeakyReLU layer.
template <typename S, typename T>
__device__ __forceinline__ S apply_mask(S value, T y, S negative_slope) {
  return static_cast<S>(y) > S(0) ? value : negative_slope == S(0) ? S(0) : negative_slope * value;
}

}  // namespace hyperconv

// Calls the CUDA forward kernel, which runs on the CPU over tests/cuda_host.

#include "forward.cuh"
#include "launch.h"

using namespace hyperconv;

struct Call {
  const void *input, *weight, *bias;
  void* output;
  int64_t samples;
  unsigned blocks;
  Geometry geometry;
};

template <typename T, typename Shape>
void run(const Call& call) {
  const Tiling tiling(call.geometry, call.samples, Shape::kChannels, Shape::kPixels);
  launch(forward<T, Shape>, dim3(call.blocks), dim3(kThreads), 0, nullptr, static_cast<const T*>(call.input),
         static_cast<const T*>(call.weight), static_cast<const T*>(call.bias), static_cast<T*>(call.output),
         call.geometry, tiling);
}

template <typename T>
void run_in(const Call& call, int shape) {
  if (shape == 0) run<T, Thin>(call);
  if (shape == 1) run<T, Medium>(call);
  if (shape == 2) run<T, Wide>(call);
}

// `numbers`: N, N/B, H, W, H_out, W_out; stride, padding, dilation (two each); groups, channels into and out
// of a group, kH, kW; strides of input (4), output (4), bias (2), weight sets; activation, blocks, shape.
extern "C" void forward_on_cpu(int dtype, const void* input, const void* weight, const void* bias,
                               void* output, const int64_t* numbers, double negative_slope) {
  const int64_t* next = numbers;
  const auto whole = [&next] { return static_cast<int>(*next++); };
  Call call{input, weight, bias, output, *next++, 0, {}};
  Geometry& geometry = call.geometry;
  geometry.samples_per_set = *next++;
  geometry.height = whole();
  geometry.width = whole();
  const int64_t output_height = *next++;
  geometry.output_width = whole();
  geometry.output_pixels = output_height * geometry.output_width;
  geometry.stride_h = whole();
  geometry.stride_w = whole();
  geometry.padding_h = whole();
  geometry.padding_w = whole();
  geometry.dilation_h = whole();
  geometry.dilation_w = whole();
  geometry.groups = whole();
  geometry.group_inputs = whole();
  geometry.group_outputs = whole();
  const int kernel_height = whole(), kernel_width = whole();
  geometry.taps = geometry.group_inputs * kernel_height * kernel_width;
  geometry.kernel_area = Divisor(kernel_height * kernel_width);
  geometry.kernel_width = Divisor(kernel_width);
  for (int64_t& stride : geometry.input_strides) stride = *next++;
  for (int64_t& stride : geometry.output_strides) stride = *next++;
  for (int64_t& stride : geometry.bias_strides) stride = *next++;
  geometry.weight_set_stride = *next++;
  geometry.activation = whole();
  geometry.negative_slope = negative_slope;
  call.blocks = static_cast<unsigned>(*next++);
  const int shape = whole();
  if (dtype == 0) run_in<float>(call, shape);
  if (dtype == 1) run_in<double>(call, shape);
  if (dtype == 2) run_in<__nv_bfloat16>(call, shape);
  if (dtype == 3) run_in<__half>(call, shape);
}

extern "C" uint32_t quotient(uint32_t number, uint32_t divisor) { return Divisor(divisor).quotient(number); }

// Sizes and strides of one per-sample convolution, and how its output is cut into tiles.
//
// input (N, C_in, H, W), weight (B, C_out, C_in/groups, kH, kW), output (N, C_out, H_out, W_out). Sample n
// uses weight set n / (N / B). Strides count elements, in 64 bits. A weight set is contiguous; sets may lie any
// distance apart (views into a flat buffer) or be the same one (stride 0).

#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define HYPERCONV_DEVICE __host__ __device__ __forceinline__
#else
#define HYPERCONV_DEVICE inline
#endif

namespace hyperconv {

enum Activation { kNone = 0, kRelu = 1, kLeakyRelu = 2, kTanh = 3 };

// Divides numbers below 2^31 by a fixed positive one with a multiplication and a shift
// (Granlund and Montgomery 1994, "Division by invariant integers using multiplication").
struct Divisor {
  uint32_t value = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(uint32_t divisor) : value(divisor) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    const uint64_t rest = (uint64_t{1} << shift) - divisor;
    multiplier = static_cast<uint32_t>((rest << 32) / divisor + 1);
  }

  HYPERCONV_DEVICE uint32_t quotient(uint32_t number) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(number) * multiplier) >> 32);
    return (high + number) >> shift;
  }
};

struct Geometry {
  int64_t samples_per_set;
  int64_t output_pixels;  // H_out * W_out
  int height, width, output_width;
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int groups, group_inputs, group_outputs;  // channels of one group
  int taps;                                 // C_in/groups * kH * kW, the products in one output value
  Divisor kernel_area, kernel_width;
  int64_t input_strides[4], output_strides[4], bias_strides[2];
  int64_t weight_set_stride;
  int activation;
  double negative_slope;
};

// Where one block works: some channels of one group, and some pixels, of one sample.
struct Tile {
  int64_t sample, first_pixel;
  int group, first_channel;
};

// The output cut into tiles of `channels` x `pixels`, numbered with pixels fastest and samples slowest.
struct Tiling {
  int64_t count, pixel_tiles;
  int channel_tiles;

  Tiling(const Geometry& geometry, int64_t samples, int channels, int pixels)
      : pixel_tiles((geometry.output_pixels + pixels - 1) / pixels),
        channel_tiles((geometry.group_outputs + channels - 1) / channels) {
    count = samples * geometry.groups * channel_tiles * pixel_tiles;
  }

  HYPERCONV_DEVICE Tile at(int64_t index, int groups, int channels, int pixels) const {
    const int64_t row = index / pixel_tiles;
    const int64_t group_row = row / channel_tiles;
    return {group_row / groups, (index % pixel_tiles) * pixels, static_cast<int>(group_row % groups),
            static_cast<int>(row % channel_tiles) * channels};
  }
};

}  // namespace hyperconv

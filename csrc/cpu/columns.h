// Few pixels under wide weights, as in the deep layers of a net: most of the work is to read or write the weights. These
// kernels do so once, in the order of memory, beside pixels that stay in the cache as columns of what the kernel sees:
//     column[c, t][p] = plane[c][element[t][p]],
// for the pixels p of all samples of a weight set; an element outside of the image is a zero behind its plane. With the
// weights [o][c, t] as they lie in memory,
//     output[o][p]      = sum over c and t of weight[o][c, t] * column[c, t][p],
//     gradient[o][c, t] = sum over p of grad[o][p] * column[c, t][p],
//     column[c, t][p]   = sum over o of grad[o][p] * weight[o][c, t] is what the input's gradient gathers.
// Each is a product of matrices, whose vectors lie along the pixels in the first, unless those are very few, and along c
// and t in the others. Channels are taken in blocks, whose part of a row of weights is at most `column_bytes`: sums of sums
// lose less precision.
#pragma once

#include "pack.h"
#include "products.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int64_t column_bytes = 2048;
constexpr int64_t column_rows = 12;     // rows of weights that are taken at a time,
constexpr int64_t column_block = 4096;  // and by the input's gradient more where they have fewer elements than that
constexpr int64_t column_sum = 64;      // pixels of each partial sum of the weights' gradient
// A register tile along channels and taps.
constexpr int column_factors = HYPERCONV_VECTOR_REGISTERS == 32 ? 6 : 4;
constexpr int column_vectors = HYPERCONV_VECTOR_REGISTERS == 32 ? 4 : 3;
// The most pixels of a weight set for which vectors along c and t waste less than vectors of pixels that are not there.
template <typename T>
constexpr int64_t dot_pixels = lanes<T> / 2;

template <typename T>
HYPERCONV_INLINE constexpr int64_t vectors_of(int64_t count) {
  return (count + lanes<T> - 1) / lanes<T>;
}

// The channels of one group, cut into blocks.
template <typename T>
struct ChannelBlocks {
  ChannelBlocks(int64_t channels, int64_t taps) : channels(channels), taps(taps) {
    const int64_t most = larger(column_bytes / static_cast<int64_t>(sizeof(T)) / taps, 1);
    at_once = smaller(most < lanes<T> ? most : most / lanes<T> * lanes<T>, channels);
    count = (channels + at_once - 1) / at_once;
    pitch = ((at_once * taps + 15) / 16 | 1) * 16;
  }
  int64_t channels, taps, at_once, count;
  int64_t pitch;  // of a row of one block: an odd number of cache lines, so that rows spread over the cache sets

  int64_t first(int64_t block) const { return block * at_once; }
  int64_t channels_of(int64_t block) const { return smaller(at_once, channels - first(block)); }
  int64_t length(int64_t block) const { return channels_of(block) * taps; }
};

// The rows of one plane, masked, side by side.
template <typename S>
void copy_plane(Sum<S>* target, const Image& image, const Image& mask, int64_t sample, int64_t channel, Sum<S> slope) {
  const S* data = static_cast<const S*>(image.data) + sample * image.stride[0] + channel * image.stride[1];
  const S* sign = static_cast<const S*>(mask.data);
  if (sign) sign += sample * mask.stride[0] + channel * mask.stride[1];
  for (int64_t y = 0; y < image.size[2]; ++y, target += image.size[3])
    copy_row<S>(target,
                {data + y * image.stride[2], image.stride[3], sign ? sign + y * mask.stride[2] : nullptr, mask.stride[3]},
                slope, image.size[3]);
}

// target[c * channel_stride + t * tap_stride + p * pixel_stride]: the columns of `channels` channels of one sample.
template <typename S>
void pack_columns(Sum<S>* target, int64_t channel_stride, int64_t tap_stride, int64_t pixel_stride, Sum<S>* plane,
                  const ColumnTable& table, int64_t taps, const Image& image, int64_t sample, int64_t first_channel,
                  int64_t channels) {
  plane[image.size[2] * image.size[3]] = 0;
  for (int64_t c = 0; c < channels; ++c) {
    copy_plane<S>(plane, image, Image{}, sample, first_channel + c, 0);
    const int64_t* element = table.element;
    for (int64_t t = 0; t < taps; ++t, element += table.pixels) {
      Sum<S>* out = target + c * channel_stride + t * tap_stride;
      for (int64_t p = 0; p < table.pixels; ++p) out[p * pixel_stride] = plane[element[p]];
    }
  }
}

template <typename T>
struct WeightRows {
  const T* data;
  int64_t stride;
};

// `rows` rows of weights of one block, `row_stride` apart, of which `read` elements may be read: in place where they are
// dense and there are as many, else copied, with zeros behind.
template <typename S>
WeightRows<Sum<S>> weight_rows(Sum<S>* copy, const ChannelBlocks<Sum<S>>& blocks, int64_t block, const S* weight,
                               const int64_t* tap, int64_t row_stride, int64_t channel_stride, int64_t rows, int64_t read) {
  using T = Sum<S>;
  const int64_t length = blocks.length(block), taps = blocks.taps;
  bool dense = channel_stride == taps || blocks.channels == 1;
  for (int64_t t = 0; t < taps; ++t) dense = dense && tap[t] == t;
  weight += blocks.first(block) * channel_stride;
  if constexpr (sizeof(S) == sizeof(T))
    if (dense && blocks.first(block) * taps + read <= blocks.channels * taps) return {weight, row_stride};
  T* target = copy;
  for (int64_t row = 0; row < rows; ++row, weight += row_stride, target += blocks.pitch) {
    if (dense) {
      widen_row(target, weight, length);
    } else {
      for (int64_t c = 0; c < blocks.channels_of(block); ++c)
        for (int64_t t = 0; t < taps; ++t) target[c * taps + t] = widen(weight[c * channel_stride + tap[t]]);
    }
    fill_zero(target + length, vectors_of<T>(length) * lanes<T> - length);
  }
  return {copy, blocks.pitch};
}

template <int N>
struct Count {
  static constexpr int value = N;
};

// visit(first, Count<N>) for as many runs of N as there are in `total`, then for one after another.
template <int N, typename Visit>
HYPERCONV_INLINE void for_each_run(int64_t total, const Visit& visit) {
  int64_t first = 0;
  for (; first + N <= total; first += N) visit(first, Count<N>{});
  for (; first < total; ++first) visit(first, Count<1>{});
}

}  // namespace hyperconv::HYPERCONV_ISA

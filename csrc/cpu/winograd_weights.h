// Kernels into Winograd's domain, and their gradients out of it. Channels are innermost on both sides, so that matrices
// of the channels can be multiplied entry by entry.
#pragma once

#include "winograd_tiles.h"

namespace hyperconv::HYPERCONV_ISA {

constexpr int kernel_entries = kernel_taps * kernel_taps;

// 1 where the entries of a kernel lie side by side in the order of its taps, -1 in the opposite order, else 0.
HYPERCONV_INLINE int direction_of(const Taps& taps) {
  bool forward = true, backward = true;
  for (int tap = 0; tap < kernel_entries; ++tap) {
    forward &= taps.weight[tap] == tap;
    backward &= taps.weight[tap] == kernel_entries - 1 - tap;
  }
  return forward ? 1 : backward ? -1 : 0;
}

// The taps of a vector of kernels, [tap][kernel], and the way from and to tensors where kernels are `stride` apart.
template <typename S>
struct KernelVector {
  using T = Sum<S>;
  static constexpr int group = channel_group<T>, quads = kernel_entries / 4 * 4;
  alignas(64) T taps[kernel_entries][lanes<T>];

  // Where tap `index` in memory order is for an order of taps in `direction`.
  T* in_order(int index, int direction) { return taps[direction > 0 ? index : kernel_entries - 1 - index]; }

  void read(const S* source, int64_t stride, const Taps& order, int direction, int64_t count) {
    if constexpr (sizeof(S) == sizeof(T)) {
      if (direction && count == lanes<T>) {
        for (int64_t lane = 0; lane < lanes<T>; lane += group) {
          const S* kernels = source + lane * stride;
          for (int tap = 0; tap < quads; tap += 4)
            transpose<T, group, 4>(in_order(tap, direction) + lane, direction * lanes<T>, kernels + tap, stride);
          for (int i = 0; i < group; ++i)
            in_order(quads, direction)[lane + i] = kernels[i * stride + quads];
        }
        return;
      }
    }
    if (count < lanes<T>) fill_zero(taps[0], kernel_entries * lanes<T>);
    for (int64_t lane = 0; lane < count; ++lane)
      for (int tap = 0; tap < kernel_entries; ++tap) taps[tap][lane] = widen(source[lane * stride + order.weight[tap]]);
  }

  void write(S* target, int64_t stride, const Taps& order, int direction, int64_t count) {
    if constexpr (sizeof(S) == sizeof(T)) {
      if (direction && count == lanes<T>) {
        for (int64_t lane = 0; lane < lanes<T>; lane += group) {
          S* kernels = target + lane * stride;
          for (int tap = 0; tap < quads; tap += 4)
            transpose<T, 4, group>(kernels + tap, stride, in_order(tap, direction) + lane, direction * lanes<T>);
          for (int i = 0; i < group; ++i) kernels[i * stride + quads] = in_order(quads, direction)[lane + i];
        }
        return;
      }
    }
    for (int64_t lane = 0; lane < count; ++lane)
      for (int tap = 0; tap < kernel_entries; ++tap) narrow(target[lane * stride + order.weight[tap]], taps[tap][lane]);
  }
};

// Kernels of one input channel of a set and group, transformed, for all output channels: [entry][panel of output
// channels][input channel][output channel of the panel].
template <typename S, int M>
void transform_weights(Sum<S>* target, const Correlation& problem, const Tiling<Sum<S>, M>& tiling, int64_t set,
                       int64_t group, int64_t channel) {
  using T = Sum<S>;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride + channel * problem.weight_in_stride;
  const int direction = direction_of(problem.taps);
  for (int64_t panel = 0, width; panel < tiling.out; panel += width) {
    width = vectors_at_once((tiling.out - panel) / lanes<T>) * lanes<T>;
    for (int64_t first = panel; first < panel + width; first += lanes<T>) {
      KernelVector<S> kernels;
      const int64_t count = channel < problem.in_channels ? smaller(lanes<T>, problem.out_channels - first) : 0;
      kernels.read(weight + first * problem.weight_out_stride, problem.weight_out_stride, problem.taps, direction,
                   count);
      T* vector = target + panel * tiling.in + channel * width + (first - panel);
      transform_tile<T, kernel_taps, tile_inputs(M)>(
          [](const auto& line, auto& result) { transform_taps<T>(line, result); },
          [&](int row, int column, Vector<T>& tap) { load(tap, kernels.taps[row * kernel_taps + column]); },
          [&](int row, int column, const Vector<T>& entry) {
            store(vector + (row * tile_inputs(M) + column) * tiling.matrix(), entry);
          });
    }
  }
}

// The gradient by the kernels of one output channel, from the sums [entry][output channel][input channel] of all
// chunks of the work, which are `stride` elements apart.
template <typename S, int M>
void transform_to_weights(const Accumulation& problem, const Tiling<Sum<S>, M>& tiling, const Sum<S>* sums,
                          int64_t stride, int64_t channel) {
  using T = Sum<S>;
  S* result = static_cast<S*>(problem.result) + channel * problem.result_fixed_stride;
  const int direction = direction_of(problem.taps);
  for (int64_t first = 0; first < problem.shifted_channels; first += lanes<T>) {
    KernelVector<S> kernels;
    transform_tile<T, tile_inputs(M), kernel_taps>(
        [](const auto& line, auto& target) { transform_sums<T>(line, target); },
        [&](int i, int j, Vector<T>& total) {
          const T* source = sums + (i * tile_inputs(M) + j) * tiling.matrix() + channel * tiling.in + first;
          load(total, source);
          for (int64_t chunk = 1; chunk < problem.chunks; ++chunk) {
            Vector<T> part;
            load(part, source + chunk * stride);
            total += part;
          }
        },
        [&](int i, int j, const Vector<T>& tap) { store(kernels.taps[i * kernel_taps + j], tap); });
    kernels.write(result + first * problem.result_shifted_stride, problem.result_shifted_stride, problem.taps,
                  direction, smaller(lanes<T>, problem.shifted_channels - first));
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

// Kernels into Winograd's domain, and their gradients out of it. Channels are innermost on both sides, so that matrices
// of the channels can be multiplied entry by entry.
#pragma once

#include "winograd_tiles.h"

namespace hyperconv::HYPERCONV_ISA {

// The order of a kernel's taps in memory: forwards or backwards where they lie side by side, else any.
struct KernelOrder {
  explicit KernelOrder(const Taps& taps) : count(taps.count), weight(taps.weight) {
    bool forward = true, backward = true;
    for (int64_t tap = 0; tap < count; ++tap) {
      forward &= weight[tap] == tap;
      backward &= weight[tap] == count - 1 - tap;
    }
    dense = forward || backward;
    backwards = backward && !forward;
  }
  int64_t count;
  const int64_t* weight;
  bool dense, backwards;

  int64_t entry_of(int64_t tap) const { return backwards ? count - 1 - tap : tap; }
};

// A vector of kernels, [entry][kernel], and the way from and to tensors where kernels are `stride` apart.
template <typename S>
struct KernelVector {
  using T = Sum<S>;
  static constexpr int group = channel_group<T>;
  alignas(64) T entries[most_kernel_entries][lanes<T>];

  void read(const S* source, int64_t stride, const KernelOrder& order, int64_t count) {
    if constexpr (sizeof(S) == sizeof(T)) {
      if (order.dense && count == lanes<T>) {
        const int64_t quads = order.count / 4 * 4;
        for (int64_t lane = 0; lane < lanes<T>; lane += group) {
          const S* kernels = source + lane * stride;
          for (int64_t entry = 0; entry < quads; entry += 4)
            transpose<T, group, 4>(entries[entry] + lane, lanes<T>, kernels + entry, stride);
          for (int64_t entry = quads; entry < order.count; ++entry)
            for (int i = 0; i < group; ++i) entries[entry][lane + i] = kernels[i * stride + entry];
        }
        return;
      }
    }
    if (count < lanes<T>) fill_zero(entries[0], order.count * lanes<T>);
    for (int64_t lane = 0; lane < count; ++lane)
      for (int64_t tap = 0; tap < order.count; ++tap)
        entries[order.entry_of(tap)][lane] = widen(source[lane * stride + order.weight[tap]]);
  }

  // Of `tap_count` taps, those that there are: parts of a kernel lack some.
  void write(S* target, int64_t stride, const KernelOrder& order, const int64_t* taps, int64_t tap_count,
             int64_t count) const {
    if constexpr (sizeof(S) == sizeof(T)) {
      bool whole = tap_count == order.count;
      for (int64_t i = 0; i < tap_count; ++i) whole &= taps[i] >= 0;
      if (order.dense && whole && count == lanes<T>) {
        const int64_t quads = order.count / 4 * 4;
        for (int64_t lane = 0; lane < lanes<T>; lane += group) {
          S* kernels = target + lane * stride;
          for (int64_t entry = 0; entry < quads; entry += 4)
            transpose<T, 4, group>(kernels + entry, stride, entries[entry] + lane, lanes<T>);
          for (int64_t entry = quads; entry < order.count; ++entry)
            for (int i = 0; i < group; ++i) kernels[i * stride + entry] = entries[entry][lane + i];
        }
        return;
      }
    }
    for (int64_t lane = 0; lane < count; ++lane)
      for (int64_t i = 0; i < tap_count; ++i)
        if (taps[i] >= 0)
          narrow(target[lane * stride + order.weight[taps[i]]], entries[order.entry_of(taps[i])][lane]);
  }
};

// Kernels of one input channel of a set and group, transformed, for all output channels: [entry][panel of output
// channels][part of the kernel][input channel][output channel of the panel].
template <typename S, int M, int R>
void transform_weights(Sum<S>* target, const Correlation& problem, const Tiling<Sum<S>, M, R>& tiling, int64_t set,
                       int64_t group, int64_t channel) {
  using T = Sum<S>;
  const S* weight = static_cast<const S*>(problem.weight) + set * problem.weight_set_stride +
                    group * problem.weight_group_stride + channel * problem.weight_in_stride;
  const KernelOrder order(problem.taps);
  const KernelParts& parts = problem.parts;
  for (int64_t panel = 0, width; panel < tiling.out; panel += width) {
    width = vectors_at_once((tiling.out - panel) / lanes<T>) * lanes<T>;
    for (int64_t first = panel; first < panel + width; first += lanes<T>) {
      KernelVector<S> kernels;
      const int64_t count = channel < problem.in_channels ? smaller(lanes<T>, problem.out_channels - first) : 0;
      kernels.read(weight + first * problem.weight_out_stride, problem.weight_out_stride, order, count);
      for (int64_t part = 0; part < parts.count; ++part) {
        T* vector = target + panel * tiling.in + (part * tiling.part_in + channel) * width + (first - panel);
        transform_tile<T, R, tile_inputs(M, R)>(
            [](const auto& line, auto& result) { transform_taps<T>(line, result); },
            [&](int row, int column, Vector<T>& value) {
              const int64_t tap = parts.taps[(part * R + row) * R + column];
              value = Vector<T>{};
              if (tap >= 0) load(value, kernels.entries[order.entry_of(tap)]);
            },
            [&](int row, int column, const Vector<T>& entry) {
              store(vector + (row * tile_inputs(M, R) + column) * tiling.matrix(), entry);
            });
      }
    }
  }
}

// The gradient by the kernels of one output channel, from the sums [entry][output channel][input channel] of all
// chunks of the work, which are `stride` elements apart.
template <typename S, int M, int R>
void transform_to_weights(const Accumulation& problem, const Tiling<Sum<S>, M, R>& tiling, const Sum<S>* sums,
                          int64_t stride, int64_t channel) {
  using T = Sum<S>;
  S* result = static_cast<S*>(problem.result) + channel * problem.result_fixed_stride;
  const KernelOrder order(problem.taps);
  const int64_t* const taps = problem.parts.taps;
  for (int64_t first = 0; first < problem.shifted_channels; first += lanes<T>) {
    KernelVector<S> kernels;
    transform_tile<T, tile_inputs(M, R), R>(
        [](const auto& line, auto& target) { transform_sums<T>(line, target); },
        [&](int i, int j, Vector<T>& total) {
          const T* source = sums + (i * tile_inputs(M, R) + j) * tiling.matrix() + channel * tiling.in + first;
          load(total, source);
          for (int64_t chunk = 1; chunk < problem.chunks; ++chunk) {
            Vector<T> part;
            load(part, source + chunk * stride);
            total += part;
          }
        },
        [&](int i, int j, const Vector<T>& value) {
          const int64_t tap = taps[i * R + j];
          if (tap >= 0) store(kernels.entries[order.entry_of(tap)], value);
        });
    kernels.write(result + first * problem.result_shifted_stride, problem.result_shifted_stride, order, taps, R * R,
                  smaller(lanes<T>, problem.shifted_channels - first));
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

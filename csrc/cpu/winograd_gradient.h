// The weight gradient of a dense 3 x 3 kernel, or one part of another, by Winograd's matrices, transposed:
//     result = G' [ sum over tiles of (A grad A') * (B' input B) ] G.
// For each entry of a transformed tile the sum is one product of matrices, (output channels x tiles) times (tiles x
// input channels). Entries are taken one row of the tile at a time, whose factors and sums stay in the cache.
#pragma once

#include "accumulate.h"
#include "winograd_weights.h"

namespace hyperconv::HYPERCONV_ISA {

// Tiles of one partial sum: as in correlations, the errors of F(3 x 3) and F(4 x 4) grow with the length of their sums;
// but F(4 x 4) has only sums over so many pixels that PyTorch's own errors are large.
constexpr int64_t tiles_per_sum(int outputs) { return outputs == 3 ? 32 : 128; }

// Memory for one block: its packed factors, and a row of the transformed tiles of a part of it.
template <typename T, int M, int R>
struct GradientMemory {
  GradientMemory(T* memory, const Tiling<T, M, R>& tiling)
      : grad(memory),
        input(grad + tiling.output_elements()),
        lines(input + tiling.input_elements()),
        factors(lines + tiling.line_elements()) {}
  T *grad, *input, *lines, *factors;

  static int64_t elements(const Tiling<T, M, R>& tiling) {
    return tiling.output_elements() + tiling.input_elements() + tiling.line_elements() +
           2 * tile_inputs(M, R) * tiling.slot();
  }
};

// Row `Row` of `tiles` transformed tiles of a packed block: [column of the tile][tile][channel].
template <typename T, int M, int R, int From, int Row, typename Line>
void transform_row(T* target, int64_t entry_elements, const T* block, int64_t columns, int64_t channels,
                   int64_t tile_columns, int64_t begin, int64_t tiles, const Line& line) {
  for (int64_t tile = begin; tile < begin + tiles; ++tile, target += channels) {
    const T* first = block + (tile / tile_columns * columns + tile % tile_columns) * M * channels;
    for (int64_t c = 0; c < channels; c += lanes<T>)
      transform_tile_row<T, From, tile_inputs(M, R), Row>(
          line, [&](int i, int j, Vector<T>& pixel) { load(pixel, first + (i * columns + j) * channels + c); },
          [&](int j, const Vector<T>& entry) { store(target + j * entry_elements + c, entry); });
  }
}

// Adds `tiles` tiles of a packed block to the sums, from row `Row` of the transformed tiles on.
template <typename T, int M, int R, int Row>
void accumulate_rows(const Tiling<T, M, R>& tiling, const GradientMemory<T, M, R>& memory, T* sums, int64_t begin,
                     int64_t tiles, bool add) {
  constexpr int side = tile_inputs(M, R);
  if constexpr (Row < side) {
    const int64_t slot = tiling.slot();
    T *const grads = memory.factors, *const inputs = grads + side * slot;
    transform_row<T, M, R, M, Row>(grads, slot, memory.grad, tiling.output_columns, tiling.out, tiling.tile_columns,
                                   begin, tiles,
                                   [](const auto& line, auto& result) { transform_outputs<T>(line, result); });
    transform_row<T, M, R, side, Row>(inputs, slot, memory.input, tiling.input_columns, tiling.in,
                                      tiling.tile_columns, begin, tiles,
                                      [](const auto& line, auto& result) { transform_inputs<T>(line, result); });
    for (int column = 0; column < side; ++column)
      multiply<T>({grads + column * slot, 1, tiling.out}, {inputs + column * slot, 1, tiling.in}, tiling.out, tiling.in,
                  {tiles, tiles_per_sum(M)}, sums + (Row * side + column) * tiling.matrix(), add);
    accumulate_rows<T, M, R, Row + 1>(tiling, memory, sums, begin, tiles, add);
  }
}

// bias[channel] += the sum over the pixels of a packed block: in vectors over a row, whose columns are a multiple of
// four, in double over the rows.
template <typename T>
void add_pixels(double* bias, const T* grad, int64_t rows, int64_t columns, int64_t padded_channels, int64_t channels) {
  for (int64_t first = 0; first < channels; first += lanes<T>) {
    const T* pixel = grad + first;
    for (int64_t row = 0; row < rows; ++row) {
      Vector<T> sum[4] = {};
      for (int64_t column = 0; column < columns; column += 4) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i, pixel += padded_channels) {
          Vector<T> value;
          load(value, pixel);
          sum[i] += value;
        }
      }
      T total[lanes<T>];
      store(total, Vector<T>((sum[0] + sum[1]) + (sum[2] + sum[3])));
      for (int64_t lane = 0; lane < smaller(lanes<T>, channels - first); ++lane) bias[first + lane] += total[lane];
    }
  }
}

template <typename T, int M, int R>
Tiling<T, M, R> tiling_of(const Accumulation& problem) {
  return {problem.shifted_channels, 1, problem.fixed_channels, problem.fixed.size[3], problem.block_rows,
          problem.tiles_at_once};
}

// Chunk `chunk` of the pixels of a problem of one set and group: sums over transformed tiles, and those of grad itself.
template <typename S, int M, int R>
void accumulate_tiles_chunk(const Accumulation& problem, int64_t chunk, Partial<Sum<S>> result, Sum<S>* memory) {
  using T = Sum<S>;
  const Tiling<T, M, R> tiling = tiling_of<T, M, R>(problem);
  const int64_t height = problem.fixed.size[2], row_blocks = (height + problem.block_rows - 1) / problem.block_rows;
  const int64_t blocks = problem.fixed.size[0] * row_blocks;
  const int64_t begin = blocks * chunk / problem.chunks, end = blocks * (chunk + 1) / problem.chunks;
  const GradientMemory<T, M, R> packed(memory, tiling);
  const T slope = T(problem.negative_slope);
  for (int64_t channel = 0; channel < problem.fixed_channels; ++channel) result.sums[channel] = 0;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t sample = block / row_blocks, first_row = block % row_blocks * problem.block_rows;
    const int64_t rows = round_up(smaller(problem.block_rows, height - first_row), M);
    pack_block<S>(packed.grad, {sample, 0, problem.fixed_channels, tiling.out, first_row, rows, 0,
                                tiling.output_columns, 1, 1},
                  problem.fixed, problem.fixed_mask, packed.lines, slope);
    const KernelParts& kernel = problem.parts;
    pack_block<S>(packed.input, {sample, 0, problem.shifted_channels, tiling.in,
                                 first_row * kernel.row_step + kernel.first_row[0], rows + R - 1,
                                 kernel.first_column[0], tiling.input_columns, kernel.row_step, kernel.column_step},
                  problem.shifted, problem.shifted_mask, packed.lines, slope);
    if (problem.sums)
      add_pixels<T>(result.sums, packed.grad, rows, tiling.output_columns, tiling.out, problem.fixed_channels);
    const Panels parts = cut_into_panels(rows / M * tiling.tile_columns, tiling.tiles);
    for (int64_t part = 0; part < parts.count; ++part)
      accumulate_rows<T, M, R, 0>(tiling, packed, result.products, panel_start(parts, part), panel_width(parts, part),
                               block > begin || part > 0);
  }
}

// The gradients of one output channel of such a problem, from the sums of all chunks, which are `stride` bytes apart.
template <typename S, int M, int R>
void finish_channel(const Accumulation& problem, Partial<Sum<S>> first, int64_t stride, int64_t channel) {
  using T = Sum<S>;
  transform_to_weights<S, M, R>(problem, tiling_of<T, M, R>(problem), first.products, stride / sizeof(T), channel);
  if (!problem.sums) return;
  double total = 0;
  for (int64_t chunk = 0; chunk < problem.chunks; ++chunk)
    total += first.sums[chunk * stride / sizeof(double) + channel];
  narrow(static_cast<S*>(problem.sums)[channel], T(total));
}

// The work for `channels` output channels of a set and group, from the group's channel `first` on, as a problem of one
// set and group.
template <typename S>
Accumulation part_of(const Accumulation& problem, int64_t set, int64_t group, int64_t first, int64_t channels) {
  Accumulation part = problem;
  part.sets = part.groups = 1;
  part.fixed_channels = channels;
  const int64_t samples = problem.fixed.size[0] / problem.sets, channel = group * problem.fixed_channels + first;
  const auto move = [&](Image& image, int64_t first_channel) {
    image.size[0] = samples;
    if (image.data)
      image.data = static_cast<S*>(image.data) + set * samples * image.stride[0] + first_channel * image.stride[1];
  };
  move(part.fixed, channel), move(part.fixed_mask, channel);
  move(part.shifted, group * problem.shifted_channels), move(part.shifted_mask, group * problem.shifted_channels);
  part.result = static_cast<S*>(problem.result) + set * problem.result_set_stride +
                group * problem.result_group_stride + first * problem.result_fixed_stride;
  if (problem.sums)
    part.sums = static_cast<S*>(problem.sums) + set * problem.groups * problem.fixed_channels + channel;
  return part;
}

// A unit of work is one chunk of the pixels, by one part of the output channels of a set and group. Parts do not touch
// each other, so their number may follow that of the threads; that of the chunks, whose sums are added up, must not.
template <typename S, int M, int R>
void accumulate_tiles(const Accumulation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const Panels panels =
      cut_into_panels(vectors_for<T>(problem.fixed_channels), vectors_for<T>(problem.part_channels));
  const int64_t parts = problem.sets * problem.groups * panels.count, chunks = problem.chunks;
  const auto part_at = [&](int64_t index) {
    const int64_t pair = index / panels.count, panel = index % panels.count;
    const int64_t first = panel_start(panels, panel) * lanes<T>;
    const int64_t channels = smaller(panel_width(panels, panel) * lanes<T>, problem.fixed_channels - first);
    return part_of<S>(problem, pair / problem.groups, pair % problem.groups, first, channels);
  };
  const Tiling<T, M, R> widest = tiling_of<T, M, R>(part_at(0));
  const int64_t sum_bytes = widest.out * sizeof(double) + widest.matrices() * sizeof(T);
  const int64_t memory_bytes = GradientMemory<T, M, R>::elements(widest) * sizeof(T);
  const auto partial = [&](char* memory) {
    return Partial<T>{reinterpret_cast<T*>(memory + widest.out * sizeof(double)), reinterpret_cast<double*>(memory)};
  };

  if (chunks == 1) {
    parallel(runtime, parts, [&](int64_t index) {
      const Accumulation part = part_at(index);
      char* memory = static_cast<char*>(runtime.scratch(scratch_block, sum_bytes + memory_bytes));
      accumulate_tiles_chunk<S, M, R>(part, 0, partial(memory), reinterpret_cast<T*>(memory + sum_bytes));
      for (int64_t channel = 0; channel < part.fixed_channels; ++channel)
        finish_channel<S, M, R>(part, partial(memory), 0, channel);
    });
    return;
  }
  char* sums = static_cast<char*>(runtime.scratch(scratch_call, parts * chunks * sum_bytes));
  parallel(runtime, parts * chunks, [&](int64_t unit) {
    T* memory = static_cast<T*>(runtime.scratch(scratch_block, memory_bytes));
    accumulate_tiles_chunk<S, M, R>(part_at(unit / chunks), unit % chunks, partial(sums + unit * sum_bytes), memory);
  });
  parallel(runtime, parts * widest.out, [&](int64_t unit) {
    const int64_t index = unit / widest.out, channel = unit % widest.out;
    const Accumulation part = part_at(index);
    if (channel < part.fixed_channels)
      finish_channel<S, M, R>(part, partial(sums + index * chunks * sum_bytes), sum_bytes, channel);
  });
}

template <typename S>
void accumulate_winograd(const Accumulation& problem, const Runtime& runtime) {
  if (problem.parts.side == 2) return accumulate_tiles<S, 4, 2>(problem, runtime);
  switch (problem.tile_outputs) {
    case 2: return accumulate_tiles<S, 2, 3>(problem, runtime);
    case 3: return accumulate_tiles<S, 3, 3>(problem, runtime);
    default: return accumulate_tiles<S, 4, 3>(problem, runtime);
  }
}

}  // namespace hyperconv::HYPERCONV_ISA

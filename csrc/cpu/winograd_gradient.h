// The weight gradient of a dense 3 x 3 kernel by Winograd's matrices, transposed:
//     result = G' [ sum over tiles of (A grad A') * (B' input B) ] G.
// For each entry of a transformed tile the sum is one product of matrices, (output channels x tiles) times (tiles x
// input channels). Entries are taken one row of the tile at a time, whose factors and sums stay in the cache.
#pragma once

#include "parallel.h"
#include "winograd_products.h"
#include "winograd_tiles.h"

namespace hyperconv::HYPERCONV_ISA {

// Sizes of one problem; channels are padded to whole vectors.
template <typename T, int M>
struct GradientShape {
  explicit GradientShape(const Accumulation& problem)
      : in(round_up(problem.shifted_channels, lanes<T>)),
        out(round_up(problem.fixed_channels, lanes<T>)),
        tile_columns((problem.fixed.size[3] + M - 1) / M),
        block_tile_rows((problem.block_rows + M - 1) / M),
        grad_columns(round_up(tile_columns * M, 4)),
        input_columns(round_up(tile_columns * M + 2, 4)),
        tiles(smaller(problem.tiles_at_once, block_tile_rows * tile_columns)) {}
  int64_t in, out, tile_columns, block_tile_rows, grad_columns, input_columns, tiles;

  int64_t grad_elements() const { return block_tile_rows * M * grad_columns * out; }
  int64_t input_elements() const { return (block_tile_rows * M + 2) * input_columns * in; }
  int64_t entry_elements() const { return tiles * larger(in, out) + 64 / sizeof(T); }
  int64_t sum_elements() const { return tile_products(M) * out * in; }
};

// Row `Row` of `tiles` transformed tiles of a packed block: [column of the tile][tile][channel].
template <typename T, int M, int From, int Row, typename Line>
void transform_row(T* target, int64_t entry_elements, const T* block, int64_t columns, int64_t channels,
                   int64_t tile_columns, int64_t begin, int64_t tiles, const Line& line) {
  for (int64_t tile = begin; tile < begin + tiles; ++tile, target += channels) {
    const T* first = block + (tile / tile_columns * columns + tile % tile_columns) * M * channels;
    for (int64_t c = 0; c < channels; c += lanes<T>)
      transform_tile_row<T, From, tile_inputs(M), Row>(
          line, [&](int i, int j, Vector<T>& pixel) { load(pixel, first + (i * columns + j) * channels + c); },
          [&](int j, const Vector<T>& entry) { store(target + j * entry_elements + c, entry); });
  }
}

// Adds `tiles` tiles of a packed block to the sums, from row `Row` of the transformed tiles on.
template <typename T, int M, int Row>
void accumulate_rows(const GradientShape<T, M>& shape, const T* grad, const T* input, T* factors, T* sums,
                     int64_t begin, int64_t tiles, bool add) {
  constexpr int side = tile_inputs(M);
  if constexpr (Row < side) {
    const int64_t entry = shape.entry_elements();
    T* const inputs = factors + side * entry;
    transform_row<T, M, M, Row>(factors, entry, grad, shape.grad_columns, shape.out, shape.tile_columns, begin, tiles,
                                [](const auto& line, auto& result) { transform_outputs<T>(line, result); });
    transform_row<T, M, side, Row>(inputs, entry, input, shape.input_columns, shape.in, shape.tile_columns, begin,
                                   tiles, [](const auto& line, auto& result) { transform_inputs<T>(line, result); });
    for (int column = 0; column < side; ++column)
      multiply<T>({factors + column * entry, 1, shape.out}, {inputs + column * entry, 1, shape.in}, shape.out, shape.in,
                  {tiles, tiles}, sums + (Row * side + column) * shape.out * shape.in, add);
    accumulate_rows<T, M, Row + 1>(shape, grad, input, factors, sums, begin, tiles, add);
  }
}

// The blocks [begin, end) of the samples of one set, in order; block = sample of the set * row blocks + row block.
template <typename S, int M>
void accumulate_tiles_chunk(const Accumulation& problem, const GradientShape<Sum<S>, M>& shape, const Runtime& runtime,
                            int64_t set, int64_t group, int64_t begin, int64_t end, Sum<S>* sums) {
  using T = Sum<S>;
  const int64_t height = problem.fixed.size[2], row_blocks = (height + problem.block_rows - 1) / problem.block_rows;
  const int64_t samples_per_set = problem.fixed.size[0] / problem.sets;
  const int64_t factor_elements = 2 * tile_inputs(M) * shape.entry_elements();
  const int64_t elements =
      shape.grad_elements() + shape.input_elements() + factor_elements + 4 * shape.input_columns;
  T* grad = static_cast<T*>(runtime.scratch(scratch_block, elements * sizeof(T)));
  T *input = grad + shape.grad_elements(), *factors = input + shape.input_elements();
  T* lines = factors + factor_elements;
  const T slope = T(problem.negative_slope);
  for (int64_t block = begin; block < end; ++block) {
    const int64_t sample = set * samples_per_set + block / row_blocks;
    const int64_t first_row = block % row_blocks * problem.block_rows;
    const int64_t rows = round_up(smaller(problem.block_rows, height - first_row), M);
    pack_block<S>(grad, {sample, group * problem.fixed_channels, problem.fixed_channels, shape.out, first_row, rows, 0,
                         shape.grad_columns},
                  problem.fixed, problem.fixed_mask, lines, slope);
    pack_block<S>(input, {sample, group * problem.shifted_channels, problem.shifted_channels, shape.in,
                          first_row + problem.window.row_base[0], rows + 2, problem.window.column_base[0],
                          shape.input_columns},
                  problem.shifted, problem.shifted_mask, lines, slope);
    const Panels parts = cut_into_panels(rows / M * shape.tile_columns, shape.tiles);
    for (int64_t part = 0; part < parts.count; ++part)
      accumulate_rows<T, M, 0>(shape, grad, input, factors, sums, panel_start(parts, part), panel_width(parts, part),
                               block > begin || part > 0);
  }
}

// The gradient by the kernels of one output channel, from the sums of all chunks.
template <typename S, int M>
void transform_to_weights(const Accumulation& problem, const GradientShape<Sum<S>, M>& shape, const Sum<S>* sums,
                          int64_t set, int64_t group, int64_t channel) {
  using T = Sum<S>;
  S* result = static_cast<S*>(problem.result) + set * problem.result_set_stride +
              group * problem.result_group_stride + channel * problem.result_fixed_stride;
  for (int64_t first = 0; first < problem.shifted_channels; first += lanes<T>) {
    alignas(64) T taps[kernel_taps * kernel_taps][lanes<T>];
    transform_tile<T, tile_inputs(M), kernel_taps>(
        [](const auto& line, auto& target) { transform_sums<T>(line, target); },
        [&](int i, int j, Vector<T>& total) {
          const T* source = sums + ((i * tile_inputs(M) + j) * shape.out + channel) * shape.in + first;
          load(total, source);
          for (int64_t chunk = 1; chunk < problem.chunks; ++chunk) {
            Vector<T> part;
            load(part, source + chunk * shape.sum_elements());
            total += part;
          }
        },
        [&](int i, int j, const Vector<T>& tap) { store(taps[i * kernel_taps + j], tap); });
    const int64_t count = smaller(lanes<T>, problem.shifted_channels - first);
    for (int64_t lane = 0; lane < count; ++lane)
      for (int tap = 0; tap < kernel_taps * kernel_taps; ++tap)
        narrow(result[(first + lane) * problem.result_shifted_stride + problem.taps.weight[tap]], taps[tap][lane]);
  }
}

template <typename S, int M>
void accumulate_tiles(const Accumulation& problem, const Runtime& runtime) {
  using T = Sum<S>;
  const GradientShape<T, M> shape(problem);
  const int64_t row_blocks = (problem.fixed.size[2] + problem.block_rows - 1) / problem.block_rows;
  const int64_t blocks = problem.fixed.size[0] / problem.sets * row_blocks, chunks = problem.chunks;
  const int64_t pairs = problem.sets * problem.groups;
  T* sums = static_cast<T*>(runtime.scratch(scratch_call, pairs * chunks * shape.sum_elements() * sizeof(T)));
  parallel(runtime, pairs * chunks, [&](int64_t unit) {
    const int64_t pair = unit / chunks, chunk = unit % chunks;
    accumulate_tiles_chunk<S, M>(problem, shape, runtime, pair / problem.groups, pair % problem.groups,
                                 blocks * chunk / chunks, blocks * (chunk + 1) / chunks,
                                 sums + unit * shape.sum_elements());
  });
  parallel(runtime, pairs * problem.fixed_channels, [&](int64_t unit) {
    const int64_t pair = unit / problem.fixed_channels;
    transform_to_weights<S, M>(problem, shape, sums + pair * chunks * shape.sum_elements(), pair / problem.groups,
                               pair % problem.groups, unit % problem.fixed_channels);
  });
}

template <typename S>
void accumulate_winograd(const Accumulation& problem, const Runtime& runtime) {
  problem.tile_outputs == 2 ? accumulate_tiles<S, 2>(problem, runtime) : accumulate_tiles<S, 4>(problem, runtime);
}

}  // namespace hyperconv::HYPERCONV_ISA

// The plain data that crosses from library.cpp (compiled once) to kernels.cpp (compiled once per instruction set).
//
// Nothing here has a function body: an inline function or a standard-library template shared by translation units
// built with different instruction sets would be merged by the linker, which could keep the AVX-512 copy for all.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../dtype.h"

namespace hyperconv {

enum class Activation { none, relu, leaky_relu, tanh };

// A (samples, channels, rows, columns) tensor of any strides, counted in elements. data == nullptr: absent.
struct Image {
  void* data;
  int64_t size[4];
  int64_t stride[4];
};

// The local copy of a block of an image that makes every kernel tap a constant offset; see geometry.h.
struct Window {
  int64_t row_planes, column_planes;
  const int64_t* row_base;     // input row under row 0 of each row plane, for output row 0
  const int64_t* column_base;  // the same for columns
  int64_t row_step, column_step;
  int64_t row_span;        // rows that a plane holds beyond the output rows of the block
  int64_t rows;            // rows of one plane of a full block: block_rows + row_span
  int64_t pitch;           // elements of one row
  int64_t channel_stride;  // elements of one channel, all planes
};

struct Taps {
  int64_t count;
  const int64_t* offset;  // in the window, for output pixel 0 of channel 0
  const int64_t* weight;  // in the weight tensor, relative to its first kernel entry
};

// Which element of a plane, row by row, tap t of the kernel meets under pixel p of one sample's output:
// element[t * pixels + p], that behind the last where it meets none. See columns.h.
struct ColumnTable {
  int64_t pixels;
  const int64_t* element;
};

// A kernel cut into parts of at most side x side taps side by side, for Winograd's algorithm: a part's taps read the
// input rows first_row, first_row + row_step, ... for output rows 0, 1, ..., and columns likewise.
struct KernelParts {
  int64_t count, side;
  int64_t row_step, column_step;
  const int64_t *first_row, *first_column;
  const int64_t* taps;  // [part][side][side]: which of Taps, or -1 where there is none
};

// output[n, o] = phi(bias[o] + sum over channels c and taps t of weight[o, c, t] * window[c][offset[t] + pixel]).
struct Correlation {
  Dtype dtype;
  Image input, input_mask;    // input is multiplied by m(input_mask) as it is packed
  Image output, output_mask;  // the result is multiplied by m(output_mask) as it is stored
  const void* weight;
  int64_t weight_set_stride, weight_group_stride, weight_out_stride, weight_in_stride;
  const void* bias;  // may be nullptr
  int64_t bias_set_stride, bias_stride;
  int64_t sets, different_sets;  // of weights; a weight expanded over all sets is one
  int64_t groups, in_channels, out_channels;  // channels of one group
  Window window;
  Taps taps;
  KernelParts parts;  // of Winograd's algorithm
  ColumnTable columns;
  int64_t block_rows;
  int64_t strip_rows;                   // of the input, that correlate_planes takes at a time
  int64_t tile_outputs, tiles_at_once;  // of Winograd's algorithm: block_rows are a multiple of tile_outputs, 2 to 4
  bool whole_sets;  // there, a unit of work is all that a weight set and group has to do, not one block of it
  Activation activation;
  double negative_slope;
};

// result[set, f, s, t] = sum over the samples and pixels of fixed[f][pixel] * window of shifted[s][offset[t] + pixel];
// sums[set, f] = sum over the samples and pixels of fixed[f][pixel].
struct Accumulation {
  Dtype dtype;
  Image fixed, fixed_mask, shifted, shifted_mask;
  void* result;
  int64_t result_set_stride, result_group_stride, result_fixed_stride, result_shifted_stride;
  void* sums;  // contiguous, over the channels of all groups; may be nullptr
  int64_t sets, groups, fixed_channels, shifted_channels;  // channels of one group
  Window window;                                           // of `shifted`, for the pixels of `fixed`
  Taps taps;
  KernelParts parts;  // of Winograd's algorithm, of which it takes one
  ColumnTable columns;
  int64_t block_rows;
  int64_t chunks;        // independent partial sums per set and group; never a function of the thread count
  int64_t tile_outputs, tiles_at_once;  // as in Correlation
  int64_t part_channels;  // of Winograd's algorithm: channels of `fixed` in one unit of work
  bool result_is_part;   // one chunk, and the result is laid out as [set][group][f][s][t]
  double negative_slope;
};

// result[set, c] = sum over the samples and pixels of m(mask) * grad; contiguous.
struct BiasSum {
  Dtype dtype;
  Image grad, mask;
  void* result;
  int64_t sets;
  double negative_slope;
};

// What a kernel needs from the process: threads and reusable memory.
struct Runtime {
  void (*parallel)(int64_t count, void (*body)(void* context, int64_t begin, int64_t end), void* context);
  void* (*scratch)(int slot, size_t bytes);  // of the calling thread, 64-byte aligned, valid until asked for again
};
constexpr int scratch_call = 0;   // shared by all threads of one call, owned by the calling thread
constexpr int scratch_block = 1;  // of one unit of work
constexpr int scratch_slots = 2;

constexpr int most_plane_taps = 32;      // of a kernel that correlate_planes takes
constexpr int most_kernel_entries = 49;  // of a kernel that Winograd's algorithm takes

// Of bfloat16 alone, over matrix tiles; see tile.h. In `window` of a Correlation, a channel is a pair of them.
struct TileKernels {
  void (*correlate)(const Correlation&, const Runtime&);
  void (*accumulate)(const Accumulation&, const Runtime&);
  void (*one_product)(const void* rows, const void* pairs, float* sums);  // of one tile each
};

// At step 1 and for taps side by side only: correlate_pairs for kernels of 3 rows, correlate_planes for kernels of
// most_plane_taps. Winograd's algorithm takes kernels of most_kernel_entries.
struct Kernels {
  const char* name;
  void (*correlate)(const Correlation&, const Runtime&);
  void (*correlate_pairs)(const Correlation&, const Runtime&);
  void (*correlate_planes)(const Correlation&, const Runtime&);
  void (*correlate_winograd)(const Correlation&, const Runtime&);
  void (*convolve_columns)(const Correlation&, const Runtime&);
  void (*scatter_columns)(const Correlation&, const Runtime&);  // the input's gradient, as `output`
  void (*accumulate)(const Accumulation&, const Runtime&);
  void (*accumulate_pairs)(const Accumulation&, const Runtime&);
  void (*accumulate_winograd)(const Accumulation&, const Runtime&);
  void (*accumulate_columns)(const Accumulation&, const Runtime&);
  void (*bias_sum)(const BiasSum&, const Runtime&);
  bool wide;                 // vectors of 64 bytes
  bool fused;                // sums of products are rounded once a product, not twice
  const TileKernels* tiles;  // nullptr: this set has none
};

namespace baseline { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }
namespace amx { extern const TileKernels tiles; }
namespace avx512bf16 { extern const TileKernels tiles; }
namespace amx_emulated { extern const TileKernels tiles; }
namespace avx512bf16_emulated { extern const TileKernels tiles; }

}  // namespace hyperconv

#include "run_correlation.h"

#include <algorithm>

#include "instruction_set.h"
#include "kernel_parts.h"
#include "runtime.h"

namespace hyperconv {
namespace {

struct Call {
  Correlation& work;
  const AxisTaps& rows;
  const AxisTaps& columns;
  const Tensor& weight;

  int64_t bytes() const { return sum_bytes(work.dtype); }
  int64_t samples() const { return work.output.size[0] / work.sets; }  // of a weight set
  int64_t taps() const { return rows.index.size() * columns.index.size(); }

  void run(int64_t block_rows, void (*kernel)(const Correlation&, const Runtime&)) const {
    work.block_rows = block_rows;
    const Layout layout(rows, columns, block_rows, weight.stride(3), weight.stride(4));
    work.window = layout.window;
    work.taps = layout.taps;
    kernel(work, runtime());
  }
};

// Rows per block that fit the cache, fewer, a multiple of `step`, where the threads would otherwise stand idle.
int64_t shared_rows(const Call& call, int64_t block, int64_t step) {
  const int64_t units = 2 * thread_count(), parts = call.work.output.size[0] * call.work.groups;
  const auto idle = [&] { return parts * ((call.rows.outputs + block - 1) / block) < units; };
  while (thread_count() > 1 && block > 4 && idle()) block = ((block + 1) / 2 + step - 1) / step * step;
  return block;
}

void run_tiles(const Call& call) {
  const int64_t pairs = (call.work.in_channels + 1) / 2, pair_bytes = 4;
  const int64_t block = choose_block_rows(call.rows, call.columns, pairs, pair_bytes, cache_bytes());
  call.run(shared_rows(call, block, 1), kernels().tiles->correlate);
}

// Input rows of one strip: its planes, and its pixels where they are copied, stay in the cache.
int64_t strip_rows(const Call& call) {
  const Correlation& work = call.work;
  const int64_t channels = call.taps() * work.out_channels + (work.input_mask.data ? work.in_channels : 0);
  const int64_t row_bytes = channels * work.input.size[3] * call.bytes();
  return std::clamp<int64_t>(2 * cache_bytes() / std::max<int64_t>(row_bytes, 1), 2, 64);
}

void run_columns(const Call& call, const Image& plane, void (*kernel)(const Correlation&, const Runtime&)) {
  const ColumnLayout layout(call.rows, call.columns, plane.size[2], plane.size[3], call.weight.stride(3),
                            call.weight.stride(4));
  call.work.columns = layout.table;
  call.work.taps = layout.taps;
  kernel(call.work, runtime());
}

void run_planes(const Call& call) {
  call.work.strip_rows = strip_rows(call);
  call.run(shared_rows(call, call.rows.outputs, 1), kernels().correlate_planes);
}

// Whether units of one size leave no thread idle for long.
bool evenly_spread(int64_t units) {
  const int64_t threads = thread_count();
  return units % threads == 0 || units >= 8 * threads;
}

void run_winograd(const Call& call, const WinogradFilter& filter) {
  Correlation& work = call.work;
  const PartsLayout layout(call.rows, call.columns, filter.taps);
  const int64_t in = layout.all.count * work.in_channels, out = work.out_channels, outputs = filter.outputs;
  const int64_t block = winograd_rows(outputs, call.rows, call.columns, in, call.bytes(), 2 * cache_bytes());
  work.parts = layout.all;
  work.tile_outputs = outputs;
  work.tiles_at_once = correlation_tiles(filter, in, out, call.bytes());
  work.whole_sets = evenly_spread(work.different_sets * work.groups);
  call.run(work.whole_sets ? block : shared_rows(call, block, outputs), kernels().correlate_winograd);
}

void run_pairs(const Call& call) {
  const int64_t channels = 3 * call.work.in_channels;
  const int64_t block = winograd_rows(2, call.rows, call.columns, channels, call.bytes(), cache_bytes());
  call.run(shared_rows(call, block, 2), kernels().correlate_pairs);
}

void run_direct(const Call& call) {
  const int64_t in = call.work.in_channels;
  const int64_t block = choose_block_rows(call.rows, call.columns, in, call.bytes(), cache_bytes());
  call.run(shared_rows(call, block, 1), kernels().correlate);
}

}  // namespace

void run_correlation(Correlation& work, Product product, const AxisTaps& rows, const AxisTaps& columns,
                     const Tensor& weight) {
  work.different_sets = work.weight_set_stride == 0 && work.bias_set_stride == 0 ? 1 : work.sets;
  const Call call{work, rows, columns, weight};
  const Layer layer{work.dtype, call.samples(), work.in_channels, work.out_channels};
  const auto [way, filter] = correlation_algorithm(product, rows, columns, layer);
  switch (way) {
    case Way::tiles: return run_tiles(call);
    case Way::planes: return run_planes(call);
    case Way::winograd: return run_winograd(call, filter);
    case Way::columns: return run_columns(call, work.input, kernels().convolve_columns);
    case Way::pairs: return run_pairs(call);
    case Way::direct: return run_direct(call);
  }
}

bool run_scatter(Correlation& work, const AxisTaps& rows, const AxisTaps& columns, const Tensor& weight) {
  const Call call{work, rows, columns, weight};
  if (!scatters(rows, columns, {work.dtype, call.samples(), work.out_channels, work.in_channels})) return false;
  run_columns(call, work.output, kernels().scatter_columns);
  return true;
}

}  // namespace hyperconv

// The kernels of one instruction set; compiled once for each, with -DHYPERCONV_ISA=<name> and the matching flags.
//
// Everything with a body lives in a namespace of that name, and no standard-library template is used: functions of the
// same name compiled for different instruction sets must never meet in the linker.
#ifndef HYPERCONV_ISA
#define HYPERCONV_ISA baseline
#endif

#include "accumulate_pairs.h"
#include "bias.h"
#include "column_products.h"
#include "correlate_pairs.h"
#include "correlate_planes.h"
#include "winograd.h"
#include "winograd_gradient.h"

namespace hyperconv::HYPERCONV_ISA {

#define HYPERCONV_FOR_DTYPE(function)                               \
  switch (problem.dtype) {                                          \
    case Dtype::float32: return function<float>(problem, runtime);  \
    case Dtype::float64: return function<double>(problem, runtime); \
    case Dtype::bfloat16: return function<bfloat16>(problem, runtime); \
    case Dtype::float16: return function<float16>(problem, runtime); \
  }

static void run_correlate(const Correlation& problem, const Runtime& runtime) { HYPERCONV_FOR_DTYPE(correlate) }
static void run_correlate_pairs(const Correlation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(correlate_pairs)
}
static void run_correlate_planes(const Correlation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(correlate_planes)
}
static void run_correlate_winograd(const Correlation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(correlate_winograd)
}
static void run_convolve_columns(const Correlation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(convolve_columns)
}
static void run_scatter_columns(const Correlation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(scatter_columns)
}
static void run_accumulate(const Accumulation& problem, const Runtime& runtime) { HYPERCONV_FOR_DTYPE(accumulate) }
static void run_accumulate_pairs(const Accumulation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(accumulate_pairs)
}
static void run_accumulate_winograd(const Accumulation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(accumulate_winograd)
}
static void run_accumulate_columns(const Accumulation& problem, const Runtime& runtime) {
  HYPERCONV_FOR_DTYPE(accumulate_columns)
}
static void run_bias_sum(const BiasSum& problem, const Runtime& runtime) { HYPERCONV_FOR_DTYPE(bias_sum) }

#define HYPERCONV_TEXT_OF(name) #name
#define HYPERCONV_TEXT(name) HYPERCONV_TEXT_OF(name)

const Kernels kernels{HYPERCONV_TEXT(HYPERCONV_ISA), run_correlate, run_correlate_pairs, run_correlate_planes,
                      run_correlate_winograd, run_convolve_columns, run_scatter_columns, run_accumulate,
                      run_accumulate_pairs, run_accumulate_winograd, run_accumulate_columns, run_bias_sum,
                      HYPERCONV_VECTOR_BYTES == 64, HYPERCONV_FUSED, nullptr};

}  // namespace hyperconv::HYPERCONV_ISA

// The operators of csrc/cuda on CPU tensors, their kernels run by tests/cuda_host.

#include "accumulate_gather.cu"
#include "accumulate_tile.cu"
#include "correlate_gather.cu"
#include "correlate_tile.cu"
#include "operations.cu"

extern "C" __attribute__((visibility("default"))) void force(int gather, int wide, int shape, int parts,
                                                             int shared_limit, int blocks_wanted) {
  hyperconv::forced = {gather != 0, wide != 0, shape, parts, shared_limit, blocks_wanted};
}

extern "C" __attribute__((visibility("default"))) uint32_t quotient(uint32_t number, uint32_t divisor) {
  return hyperconv::Divisor(divisor).quotient(number);
}

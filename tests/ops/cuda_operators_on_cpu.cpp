// The operators of csrc/cuda on CPU tensors, their kernels run by tests/cuda_host.

#include "accumulate_simt.cu"
#include "accumulate_tensor.cu"
#include "correlate_simt.cu"
#include "correlate_tensor.cu"
#include "operations.cu"

extern "C" __attribute__((visibility("default"))) void force(int simt, int wide, int shape, int parts,
                                                             int shared_limit, int blocks_wanted) {
  hyperconv::forced = {simt != 0, wide != 0, shape, parts, shared_limit, blocks_wanted};
}

extern "C" __attribute__((visibility("default"))) uint32_t quotient(uint32_t number, uint32_t divisor) {
  return hyperconv::Divisor(divisor).quotient(number);
}

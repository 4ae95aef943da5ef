// What the kernels need beyond CUDA C++: instructions of the device as small functions, and shared memory.
//
// nvcc takes the inline PTX below (sm_80 and later). Any other compiler takes the functions of the same names
// from tests/cuda_host, which run kernels on the CPU.

#pragma once

#ifndef __CUDACC__

#include "cuda_host.h"

namespace hyperconv {
using cuda_host::cp_async;
using cuda_host::cp_async_commit;
using cuda_host::cp_async_wait;
using cuda_host::mma_m16n8k16_bf16;
using cuda_host::mma_m16n8k16_f16;
using cuda_host::mma_m16n8k8_tf32;
using cuda_host::shared_memory;
using cuda_host::shared_object;
using cuda_host::to_tf32;
}  // namespace hyperconv

#else

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "hyperconv's CUDA kernels need compute capability 8.0 or later: set TORCH_CUDA_ARCH_LIST"
#endif

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace hyperconv {

// The dynamic shared memory of the block, as many bytes as its launch asked for.
__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(128) char dynamic_shared_memory[];
  return dynamic_shared_memory;
}

// The block's one object of type T in static shared memory, not initialised; the place of `__shared__ T name;`.
template <typename T>
__device__ __forceinline__ T& shared_object() {
  __shared__ T object;
  return object;
}

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Starts copying an aligned word of 4 bytes; where not `valid`, nothing is read and the word becomes zero.
__device__ __forceinline__ void cp_async(void* shared, const void* global, bool valid) {
  const int source_bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :
               : "r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(source_bytes)
               : "memory");
}

// Ends a group: the copies that this thread started since the last one.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's latest groups are unfinished; other threads need a barrier after it.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory");
}

// mma.sync: d += a b, the warp's 16 x 8 tile of sums. With row = lane / 4 and pair = lane % 4, a lane holds
//   d   (row, 2 pair), (row, 2 pair + 1), (row + 8, 2 pair), (row + 8, 2 pair + 1)
//   a   16 bits: two neighbours along k in a register, at (row, 2 pair), (row + 8, 2 pair), (row, 2 pair + 8),
//       (row + 8, 2 pair + 8); tf32: (row, pair), (row + 8, pair), (row, pair + 4), (row + 8, pair + 4)
//   b   16 bits: two neighbours along k at (2 pair, row), (2 pair + 8, row); tf32: (pair, row), (pair + 4, row)
// The lower of two neighbours lies in the lower half of its register.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The bits of `value` rounded to tf32, to nearest with ties away from zero. mma takes any float's bits and
// ignores the lower 13: rounding first halves the error.
__device__ __forceinline__ uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

}  // namespace hyperconv

#endif

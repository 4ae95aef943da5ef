// Runs the CUDA kernels of csrc/cuda on the CPU, compiled as C++: what csrc/cuda/device.h and launch.h take
// where nvcc is not the compiler.
//
//   block.h            the grid: blocks in turn, a fiber per thread, barriers, deadlocks
//   synchronisation.h  barriers, votes, shuffles, atomics
//   shared_memory.h    one block's shared memory
//   async_copies.h     cp.async
//   matrix.h           mma.sync
//   sanitizers.h       what AddressSanitizer and ThreadSanitizer must know
//
// An error (a deadlock, a misaligned copy) ends the grid and stays until cuda_host_error() takes it.
//
// Not here: named barriers, mbarrier, TMA and wgmma, clusters, cooperative groups, textures, blocks that wait for
// one another, arithmetic in half precision (it is float's), warps that run in lockstep.

#pragma once

#include <math.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <type_traits>

#include "half_types.h"
#include "matrix.h"
#include "synchronisation.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static_assert(false, "static shared memory is shared_object<T>() of device.h");
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

using cudaStream_t = struct CUstream_st*;
using std::max;
using std::min;

namespace cuda_host {

inline char* shared_memory() { return machine.shared().dynamic(); }

template <typename T>
T& shared_object() {
  static_assert(std::is_trivially_default_constructible_v<T>, "shared memory runs no constructors");
  static_assert(alignof(T) <= SharedMemory::kAlignment);
  static char key;
  const Unwatched unwatched{};
  return *reinterpret_cast<T*>(machine.shared().find(&key, sizeof(T)));
}

inline void cp_async(void* shared, const void* global, bool valid) {
  constexpr uintptr_t kBytes = 4;
  if (reinterpret_cast<uintptr_t>(shared) % kBytes != 0 || reinterpret_cast<uintptr_t>(global) % kBytes != 0) {
    machine.fail("cp.async with a misaligned end");
  }
  if (!machine.shared().contains(shared, kBytes)) machine.fail("cp.async to an address outside shared memory");
  machine.current().copies.start(shared, global, kBytes, valid);
}

inline void cp_async_commit() { machine.current().copies.commit(); }

template <int N>
void cp_async_wait() {
  machine.current().copies.finish(N);
}

}  // namespace cuda_host

// The error of an earlier launch, or null; asking takes it away.
extern "C" __attribute__((used, visibility("default"))) inline const char* cuda_host_error() {
  static std::string taken;
  taken = cuda_host::machine.take_error();
  return taken.empty() ? nullptr : taken.c_str();
}

template <typename T>
T __ldg(const T* address) { return *address; }
template <typename T>
T __ldcg(const T* address) { return *address; }
template <typename T>
T __ldcs(const T* address) { return *address; }
template <typename T>
void __stcg(T* address, std::common_type_t<T> value) { *address = value; }
template <typename T>
void __stcs(T* address, std::common_type_t<T> value) { *address = value; }

inline uint32_t __float_as_uint(float value) { return cuda_host::bits_of<uint32_t>(value); }
inline int32_t __float_as_int(float value) { return cuda_host::bits_of<int32_t>(value); }
inline float __uint_as_float(uint32_t bits) { return cuda_host::bits_of<float>(bits); }
inline float __int_as_float(int32_t bits) { return cuda_host::bits_of<float>(bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float value) { return expf(value); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float rsqrtf(float value) { return 1 / sqrtf(value); }

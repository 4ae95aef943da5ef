// Barriers, votes, shuffles, fences and atomics of CUDA C++.

#pragma once

#include <cstring>

#include "block.h"

inline void __syncthreads(cuda_host::Place place = cuda_host::Place::here()) {
  cuda_host::machine.barrier("__syncthreads", place, 0);
}
inline int __syncthreads_count(int predicate, cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::machine.barrier("__syncthreads_count", place, predicate != 0);
}
inline int __syncthreads_or(int predicate, cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::machine.barrier("__syncthreads_or", place, predicate != 0) != 0;
}
inline int __syncthreads_and(int predicate, cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::machine.barrier("__syncthreads_and", place, predicate == 0) == 0;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

namespace cuda_host {

inline unsigned ballot(const char* name, unsigned mask, bool predicate, Place place) {
  struct Vote {
    bool yes;
    unsigned result;
  } vote{predicate, 0};
  machine.in_warp(name, place, mask, &vote, [](void** votes) {
    unsigned result = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if (votes[lane] && static_cast<Vote*>(votes[lane])->yes) result |= 1u << lane;
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (votes[lane]) static_cast<Vote*>(votes[lane])->result = result;
    }
  });
  return vote.result;
}

// The value of lane source(lane), or of the lane itself where that lies outside its segment of `width` lanes
// and `clamp` is set. A value from a lane that takes no part is not defined.
template <typename T, typename Source>
T shuffle(const char* name, unsigned mask, T value, int width, Place place, Source source) {
  struct Exchange {
    T given, taken;
    int source;
  } exchange{value, value, source(static_cast<int>(machine.current().number % warpSize))};
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) machine.fail("the width of a shuffle");
  machine.in_warp(name, place, mask, &exchange, [](void** exchanges) {
    for (int lane = 0; lane < 32; ++lane) {
      if (!exchanges[lane]) continue;
      auto* own = static_cast<Exchange*>(exchanges[lane]);
      auto* other = static_cast<Exchange*>(exchanges[own->source]);
      if (other) {
        own->taken = other->given;
      } else {
        std::memset(static_cast<void*>(&own->taken), kUnwritten, sizeof(T));
      }
    }
  });
  return exchange.taken;
}

// Threads share one processor here: no other can come between the load and the store.
template <typename T, typename Change>
T update(T* address, Change change) {
  T before, after;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  after = change(before);
  __atomic_store(address, &after, __ATOMIC_RELAXED);
  return before;
}

}  // namespace cuda_host

inline unsigned __activemask() { return cuda_host::machine.lanes_left(); }
inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_host::Place place = cuda_host::Place::here()) {
  cuda_host::machine.sync_warp(place, mask);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::ballot("__ballot_sync", mask, predicate != 0, place);
}
inline int __any_sync(unsigned mask, int predicate, cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::ballot("__any_sync", mask, predicate != 0, place) != 0;
}
inline int __all_sync(unsigned mask, int predicate, cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::ballot("__all_sync", mask, predicate == 0, place) == 0;
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::shuffle("__shfl_sync", mask, value, width, place,
                            [=](int lane) { return (lane & -width) | (source & (width - 1)); });
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::shuffle("__shfl_up_sync", mask, value, width, place, [=](int lane) {
    const int source = lane - static_cast<int>(delta);
    return source < (lane & -width) ? lane : source;
  });
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::shuffle("__shfl_down_sync", mask, value, width, place, [=](int lane) {
    const int source = lane + static_cast<int>(delta);
    return source >= (lane & -width) + width ? lane : source;
  });
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  cuda_host::Place place = cuda_host::Place::here()) {
  return cuda_host::shuffle("__shfl_xor_sync", mask, value, width, place, [=](int lane) {
    const int source = lane ^ lane_mask;
    return source >= (lane & -width) + width ? lane : source;
  });
}

template <typename T>
T atomicAdd(T* address, std::common_type_t<T> value) {
  return cuda_host::update(address, [=](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicMax(T* address, std::common_type_t<T> value) {
  return cuda_host::update(address, [=](T old) { return old < value ? value : old; });
}
template <typename T>
T atomicMin(T* address, std::common_type_t<T> value) {
  return cuda_host::update(address, [=](T old) { return value < old ? value : old; });
}
template <typename T>
T atomicExch(T* address, std::common_type_t<T> value) {
  return cuda_host::update(address, [=](T) { return value; });
}
template <typename T>
T atomicCAS(T* address, std::common_type_t<T> expected, std::common_type_t<T> value) {
  return cuda_host::update(address, [=](T old) { return old == expected ? value : old; });
}
// Wraps to 0 at the limit, as counters of finished blocks do.
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return cuda_host::update(address, [=](unsigned old) { return old >= limit ? 0 : old + 1; });
}

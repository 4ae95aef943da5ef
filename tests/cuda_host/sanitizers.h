// What AddressSanitizer and ThreadSanitizer must be told of stacks and barriers; nothing without them.

#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace cuda_host {

// One side of a change of stacks: `leave` just before, on the old stack, `arrive` just after, back on it.
class StackSwitch {
 public:
#if defined(__SANITIZE_ADDRESS__)
  void leave(const void* bottom, std::size_t size) {
    __sanitizer_start_switch_fiber(&own_frames_, bottom, size);
  }
  void arrive(const void** left_bottom, std::size_t* left_size) {
    __sanitizer_finish_switch_fiber(own_frames_, left_bottom, left_size);
  }

 private:
  void* own_frames_ = nullptr;
#else
  void leave(const void*, std::size_t) {}
  void arrive(const void**, std::size_t*) {}
#endif
};

inline void forget_frames([[maybe_unused]] void* stack, [[maybe_unused]] std::size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, size);
#endif
}

// For the detection of races: identities of threads of execution, what a barrier orders, and the accesses of
// this layer itself, which are none of a kernel's.
#if defined(__SANITIZE_THREAD__)
inline void* new_identity() { return __tsan_create_fiber(0); }  // for good: one may end in the middle
inline void* own_identity() { return __tsan_get_current_fiber(); }
inline void take_identity(void* identity) { __tsan_switch_to_fiber(identity, __tsan_switch_to_fiber_no_sync); }
inline void publish(void* meeting) { __tsan_release(meeting); }
inline void observe(void* meeting) { __tsan_acquire(meeting); }

struct Unwatched {
  Unwatched() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unwatched() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};
#else
inline void* new_identity() { return nullptr; }
inline void* own_identity() { return nullptr; }
inline void take_identity(void*) {}
inline void publish(void*) {}
inline void observe(void*) {}

struct [[maybe_unused]] Unwatched {};
#endif

}  // namespace cuda_host

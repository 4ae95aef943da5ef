#include "scratch.h"

#include <cstdlib>
#include <new>

#include "interface.h"

namespace hyperconv {
namespace {

constexpr size_t alignment = 64;
constexpr size_t kept_bytes = size_t(64) << 20;  // per slot and thread, between operations

class Buffer {
 public:
  ~Buffer() { std::free(data_); }

  void* reserve(size_t bytes) {
    if (bytes <= capacity_) return data_;
    release();
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data_ = std::aligned_alloc(alignment, rounded);
    if (!data_) throw std::bad_alloc();
    capacity_ = rounded;
    return data_;
  }

  void release() {
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
  }

  size_t capacity() const { return capacity_; }

 private:
  void* data_ = nullptr;
  size_t capacity_ = 0;
};

thread_local Buffer buffers[scratch_slots];

}  // namespace

void* scratch(int slot, size_t bytes) { return buffers[slot].reserve(bytes > 0 ? bytes : alignment); }

void trim_scratch() {
  for (Buffer& buffer : buffers)
    if (buffer.capacity() > kept_bytes) buffer.release();
}

}  // namespace hyperconv

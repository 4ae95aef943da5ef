// The shared memory of the block that runs: heap allocations of its own, of exactly the sizes asked for.
//
// Every byte starts as 0xff, a NaN in every floating-point type, so that what nobody wrote shows in the result.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace cuda_host {

constexpr int kUnwritten = 0xff;

class SharedMemory {
 public:
  static constexpr std::size_t kAlignment = 128;

  explicit SharedMemory(std::size_t dynamic_bytes) { find(nullptr, dynamic_bytes); }
  SharedMemory(const SharedMemory&) = delete;
  ~SharedMemory() {
    for (const Object& object : objects_) std::free(object.memory);
  }

  char* dynamic() const { return objects_.front().memory; }

  // The object of this key; the first call makes it.
  char* find(const void* key, std::size_t bytes) {
    for (const Object& object : objects_) {
      if (object.key == key) return object.memory;
    }
    void* memory = nullptr;
    if (posix_memalign(&memory, kAlignment, bytes) != 0) throw std::bad_alloc();
    std::memset(memory, kUnwritten, bytes);
    objects_.push_back({key, static_cast<char*>(memory), bytes});
    return objects_.back().memory;
  }

  bool contains(const void* pointer, std::size_t bytes) const {
    const auto first = reinterpret_cast<uintptr_t>(pointer);
    for (const Object& object : objects_) {
      const auto start = reinterpret_cast<uintptr_t>(object.memory);
      if (start <= first && first + bytes <= start + object.bytes) return true;
    }
    return false;
  }

 private:
  struct Object {
    const void* key;
    char* memory;
    std::size_t bytes;
  };
  std::vector<Object> objects_;
};

}  // namespace cuda_host

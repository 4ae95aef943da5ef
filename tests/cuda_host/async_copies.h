// The asynchronous copies of one thread. They happen as late as the program allows: when it waits for them.

#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "shared_memory.h"

namespace cuda_host {

class AsyncCopies {
 public:
  // Until it is waited for, the destination holds neither what was there nor what will be.
  void start(void* shared, const void* global, std::size_t bytes, bool valid) {
    std::memset(shared, kUnwritten, bytes);
    copies_.push_back({shared, valid ? global : nullptr, bytes, group_});
  }

  void commit() { ++group_; }

  // Copies all groups but the latest `unfinished`; copies that no group has taken yet go on.
  void finish(unsigned unfinished) {
    std::size_t done = 0;
    for (; done < copies_.size() && copies_[done].group + unfinished < group_; ++done) {
      const Copy& copy = copies_[done];
      if (copy.global == nullptr) {
        std::memset(copy.shared, 0, copy.bytes);
      } else {
        std::memcpy(copy.shared, copy.global, copy.bytes);
      }
    }
    copies_.erase(copies_.begin(), copies_.begin() + static_cast<std::ptrdiff_t>(done));
  }

  // At the end of the thread.
  void finish_all() {
    commit();
    finish(0);
  }

 private:
  struct Copy {
    void* shared;
    const void* global;
    std::size_t bytes;
    unsigned group;
  };
  std::vector<Copy> copies_;
  unsigned group_ = 0;
};

}  // namespace cuda_host

// Runs a grid: its blocks in turn, each thread of a block on a fiber until it must wait for others.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "async_copies.h"
#include "fiber.h"
#include "shared_memory.h"
#include "vector_types.h"

inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_host {

inline bool same_text(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

// Where in the source a thread waits.
struct Place {
  const char* file = "";
  int line = 0;

  static Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  bool operator==(const Place& other) const {
    return line == other.line && same_text(file, other.file);
  }
};

// What a thread waits for: `mask` names the lanes of its warp that must come, and is 0 for the whole block.
struct Wait {
  const char* operation;
  Place place;
  unsigned mask;
  void* argument;

  bool same(const Wait& other) const {
    return mask == other.mask && place == other.place && same_text(operation, other.operation);
  }
};

enum class State { kRuns, kWaits, kReturned };

void run_thread();

struct Thread {
  explicit Thread(unsigned number) : number(number), fiber(run_thread) {}

  unsigned number;
  Fiber fiber;
  uint3 index{};
  State state = State::kRuns;
  Wait wait{};
  AsyncCopies copies;
  unsigned syncs = 0;
};

// One grid at a time. An error ends the grid, is kept, and spoils later launches until it is taken.
class Machine {
 public:
  Thread& current() { return *current_; }
  SharedMemory& shared() { return *shared_; }

  void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
    [[maybe_unused]] const Unwatched unwatched;
    if (!error_.empty()) return;
    if (kernel_ != nullptr) return record("a kernel launches a kernel");
    const std::size_t count = std::size_t{block.x} * block.y * block.z;
    if (count == 0 || count > 1024 || block.z > 64) return record("a block must have 1 to 1024 threads");
    if (grid.x == 0 || grid.x > 0x7fffffff || grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535) {
      return record("a side of the grid is 0 or too large");
    }
    if (shared_bytes > 227 * 1024) return record("more than 227 KB of shared memory");
    kernel_ = &kernel;
    blockDim = block;
    gridDim = grid;
    while (threads_.size() < count) threads_.push_back(std::make_unique<Thread>(threads_.size()));
    count_ = static_cast<unsigned>(count);
    publish(&start_);
    for (unsigned z = 0; z < grid.z && error_.empty(); ++z) {
      for (unsigned y = 0; y < grid.y && error_.empty(); ++y) {
        for (unsigned x = 0; x < grid.x && error_.empty(); ++x) run_block({x, y, z}, shared_bytes);
      }
    }
    for (unsigned number = 0; number < count_; ++number) threads_[number]->fiber.join();
    if (!error_.empty()) threads_.clear();  // their fibers stopped somewhere inside the kernel
    kernel_ = nullptr;
  }

  // Ends the grid with an error; called by a thread of it.
  [[noreturn]] void fail(const std::string& message) {
    [[maybe_unused]] const Unwatched unwatched;
    record(message + describe_current());
    for (;;) Fiber::suspend();
  }

  std::string take_error() { return std::exchange(error_, {}); }

  // Waits for all threads of the block and returns the sum of their values.
  int barrier(const char* operation, Place place, int value) {
    [[maybe_unused]] const Unwatched unwatched;
    Thread& self = *current_;
    self.wait = {operation, place, 0, nullptr};
    self.state = State::kWaits;
    if (arrived_ == 0) {
      expected_ = self.wait;
      arriving_sum_ = 0;
    } else if (!self.wait.same(expected_)) {
      fail("threads of a block wait at different barriers: " + report());
    }
    arriving_sum_ += value;
    char* const meeting = &meetings_[phase_ % 2];
    publish(meeting);
    if (++arrived_ == count_) {
      arrived_ = 0;
      ++phase_;
      sum_ = arriving_sum_;
      for (unsigned index = 0; index < count_; ++index) threads_[index]->state = State::kRuns;
    } else {
      Fiber::suspend();
    }
    observe(meeting);
    return sum_;
  }

  // Waits for the lanes in `mask`; the last to come calls combine(arguments), by lane, null where not in mask.
  template <typename Combine>
  void in_warp(const char* operation, Place place, unsigned mask, void* argument, Combine combine) {
    [[maybe_unused]] const Unwatched unwatched;
    Thread& self = *current_;
    const unsigned lane = self.number % warpSize, first = self.number - lane;
    const unsigned lanes = std::min(count_ - first, 32u);
    if (lanes < 32) mask &= (1u << lanes) - 1;
    self.wait = {operation, place, mask, argument};
    self.state = State::kWaits;
    if ((mask >> lane & 1) == 0) fail(std::string(operation) + " by a lane that its mask does not name");
    void* arguments[32] = {};
    bool complete = true;
    for (unsigned other = 0; other < lanes; ++other) {
      const Thread& thread = *threads_[first + other];
      if ((mask >> other & 1) == 0) continue;
      complete = complete && thread.state == State::kWaits && thread.wait.same(self.wait);
      arguments[other] = thread.wait.argument;
    }
    if (!complete) return Fiber::suspend();
    combine(arguments);
    for (unsigned other = 0; other < lanes; ++other) {
      if (mask >> other & 1) threads_[first + other]->state = State::kRuns;
    }
  }

  // Waits for the lanes in `mask`; what they wrote to memory before is seen after it.
  void sync_warp(Place place, unsigned mask) {
    char* const meeting = &warp_meetings_[current_->number / warpSize][current_->syncs++ % 2];
    publish(meeting);
    in_warp("__syncwarp", place, mask, nullptr, [](void**) {});
    observe(meeting);
  }

  // The lanes of this thread's warp that have not returned.
  unsigned lanes_left() const {
    const unsigned first = current_->number / warpSize * warpSize;
    unsigned mask = 0;
    for (unsigned index = first; index < std::min(first + warpSize, count_); ++index) {
      if (threads_[index]->state != State::kReturned) mask |= 1u << (index - first);
    }
    return mask;
  }

  void run_body() {
    observe(&start_);
    (*kernel_)();
    current_->copies.finish_all();
    current_->state = State::kReturned;
  }

 private:
  void record(const std::string& message) {
    if (error_.empty()) error_ = message;
  }

  void run_block(uint3 index, std::size_t shared_bytes) {
    blockIdx = index;
    shared_.emplace(shared_bytes);
    arrived_ = 0;
    for (unsigned number = 0; number < count_; ++number) {
      Thread& thread = *threads_[number];
      thread.state = State::kRuns;
      thread.index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    }
    // A missing barrier may show in one order of the threads only, so the order keeps changing.
    for (unsigned round = index.x; run_ready_threads(round % 2 == 0); ++round) {
    }
    if (error_.empty() && waiting() > 0) record("deadlock: " + report() + describe_block());
    shared_.reset();
  }

  // Every thread that can run, until it waits or returns; whether there was one.
  bool run_ready_threads(bool forward) {
    bool ran = false;
    for (unsigned step = 0; step < count_; ++step) {
      Thread& thread = *threads_[forward ? step : count_ - 1 - step];
      if (thread.state != State::kRuns) continue;
      ran = true;
      current_ = &thread;
      threadIdx = thread.index;
      thread.fiber.resume();
      if (!error_.empty()) return false;
    }
    return ran;
  }

  unsigned waiting() const {
    unsigned sum = 0;
    for (unsigned index = 0; index < count_; ++index) sum += threads_[index]->state == State::kWaits;
    return sum;
  }

  // Who waits where, as "16 threads from 0 on wait in __syncthreads at x.cu:9; 1 thread from 16 on returned".
  std::string report() const {
    std::ostringstream text;
    std::vector<bool> told(count_);
    for (unsigned index = 0; index < count_; ++index) {
      if (told[index]) continue;
      const Thread& thread = *threads_[index];
      unsigned like_it = 0;
      for (unsigned other = index; other < count_; ++other) {
        const Thread& candidate = *threads_[other];
        const bool waits = thread.state == State::kWaits;
        if (candidate.state != thread.state || (waits && !candidate.wait.same(thread.wait))) continue;
        told[other] = true;
        ++like_it;
      }
      text << (index == 0 ? "" : "; ") << like_it << (like_it == 1 ? " thread" : " threads") << " from "
           << index;
      if (thread.state == State::kRuns) text << " on can run";
      if (thread.state == State::kReturned) text << " on returned";
      if (thread.state != State::kWaits) continue;
      text << " on wait in " << thread.wait.operation;
      if (thread.wait.mask != 0) text << " with mask 0x" << std::hex << thread.wait.mask << std::dec;
      text << " at " << thread.wait.place.file << ':' << thread.wait.place.line;
    }
    return text.str();
  }

  static std::string describe_block() {
    std::ostringstream text;
    text << ", in block (" << blockIdx.x << ", " << blockIdx.y << ", " << blockIdx.z << ")";
    return text.str();
  }

  static std::string describe_current() {
    std::ostringstream text;
    text << ", in thread (" << threadIdx.x << ", " << threadIdx.y << ", " << threadIdx.z << ")"
         << describe_block();
    return text.str();
  }

  std::vector<std::unique_ptr<Thread>> threads_;
  unsigned count_ = 0;
  Thread* current_ = nullptr;
  std::optional<SharedMemory> shared_;
  const std::function<void()>* kernel_ = nullptr;
  std::string error_;

  unsigned arrived_ = 0;
  Wait expected_{};
  int arriving_sum_ = 0, sum_ = 0;
  unsigned phase_ = 0;
  char start_ = 0, meetings_[2] = {}, warp_meetings_[32][2] = {};
};

inline Machine machine;

inline void run_thread() { machine.run_body(); }

inline void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  machine.run(grid, block, shared_bytes, kernel);
}

}  // namespace cuda_host

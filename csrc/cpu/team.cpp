#include "team.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace hyperconv {
namespace {

class Call {
 public:
  Call(int64_t count, void (*body)(void*, int64_t, int64_t), void* context)
      : count_(count), body_(body), context_(context) {}

  bool open() const { return next_.load(std::memory_order_relaxed) < count_; }

  void work() {
    try {
      for (int64_t unit; (unit = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
        body_(context_, unit, unit + 1);
      }
    } catch (...) {
      next_.store(count_, std::memory_order_relaxed);
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const int64_t count_;
  void (*const body_)(void*, int64_t, int64_t);
  void* const context_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
};

class Team {
 public:
  void run(Call& call, int64_t helpers) {
    {
      std::lock_guard lock(mutex_);
      for (; size_ < helpers; ++size_) std::thread(&Team::help, this).detach();
      call_ = &call;
      wanted_ = helpers;
    }
    helpers == 1 ? called_.notify_one() : called_.notify_all();
    call.work();
    std::unique_lock lock(mutex_);
    call_ = nullptr;
    finished_.wait(lock, [this] { return working_ == 0; });
  }

  // Of one call at a time; a second one at the same moment, from another thread, is for that thread alone.
  std::mutex taken;

 private:
  void help() {
    std::unique_lock lock(mutex_);
    for (;;) {
      called_.wait(lock, [this] { return call_ && wanted_ > 0 && call_->open(); });
      Call& call = *call_;
      --wanted_;
      ++working_;
      lock.unlock();
      call.work();
      lock.lock();
      if (--working_ == 0) finished_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable called_, finished_;
  Call* call_ = nullptr;
  int64_t size_ = 0, wanted_ = 0, working_ = 0;
};

// Never destroyed: its threads sleep in it until the process ends. A forked child starts with a new one, since the
// threads have stayed with its parent.
Team* team = nullptr;

Team& the_team() {
  static const bool created = [] {
    team = new Team;
    pthread_atfork(nullptr, nullptr, [] { team = new Team; });
    return true;
  }();
  (void)created;
  return *team;
}

}  // namespace

void share(int64_t count, int64_t threads, void (*body)(void*, int64_t, int64_t), void* context) {
  Team& helpers = the_team();
  std::unique_lock taken(helpers.taken, std::defer_lock);
  if (threads <= 1 || count <= 1 || !taken.try_lock()) return body(context, 0, count);
  Call call(count, body, context);
  helpers.run(call, (threads < count ? threads : count) - 1);
  call.rethrow();
}

}  // namespace hyperconv

// A function that runs on a stack of its own and can be left and entered again, without a system call.

#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "sanitizers.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_host {

#if defined(__x86_64__)

struct Context {
  void* stack_pointer = nullptr;

  // Lays out a stack as switch_context leaves one: six registers, then where to go on.
  void prepare(char* stack, std::size_t size, void (*entry)()) {
    auto* top = reinterpret_cast<void**>(stack + size);
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void*>(entry);
    for (int index = -8; index < -2; ++index) top[index] = nullptr;
    stack_pointer = top - 8;
  }
};

__attribute__((naked, noinline, unused)) static void switch_context(Context*, Context*) {
  asm("push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
      "mov %rsp, (%rdi)\n mov (%rsi), %rsp\n"
      "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret");
}

#else

struct Context {
  ucontext_t saved;

  void prepare(char* stack, std::size_t size, void (*entry)()) {
    getcontext(&saved);
    saved.uc_stack.ss_sp = stack;
    saved.uc_stack.ss_size = size;
    makecontext(&saved, entry, 0);
  }
};

inline void switch_context(Context* from, Context* to) { swapcontext(&from->saved, &to->saved); }

#endif

class Fiber {
 public:
  // `body` runs from its start at the first resume, and again at the first one after each time it returned.
  explicit Fiber(void (*body)()) : body_(body), identity_(new_identity()) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stack_ = static_cast<char*>(memory);
    mprotect(stack_, page, PROT_NONE);  // a stack that grows too large is a fault, not a corruption
    forget_frames(stack_ + page, kStackBytes - page);
    static std::size_t made = 0;
    const std::size_t shift = made++ % 64 * 256;  // stacks aligned alike contend for the same cache sets
    context_.prepare(stack_, kStackBytes - shift, enter);
  }

  Fiber(const Fiber&) = delete;

  ~Fiber() { munmap(stack_, kStackBytes); }

  // Its caller, and that of `suspend`, is unwatched.
  void resume() {
    Fiber* const before = running_;
    running_ = this;
    caller_identity_ = own_identity();
    StackSwitch stack_switch;
    stack_switch.leave(stack_, kStackBytes);
    take_identity(identity_);
    switch_context(&caller_, &context_);
    stack_switch.arrive(nullptr, nullptr);
    running_ = before;
  }

  // Back to whoever resumed the fiber that runs now.
  static void suspend() {
    Fiber* const self = running_;
    StackSwitch stack_switch;
    stack_switch.leave(self->caller_bottom_, self->caller_bytes_);
    take_identity(self->caller_identity_);
    switch_context(&self->context_, &self->caller_);
    stack_switch.arrive(&self->caller_bottom_, &self->caller_bytes_);
  }

  // From here on the caller knows what the fiber did before it was left.
  void join() {
    void* const own = own_identity();
    take_identity(identity_);
    publish(&left_);
    take_identity(own);
    observe(&left_);
  }

 private:
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr std::size_t kStackBytes = 512 * 1024;
#else
  static constexpr std::size_t kStackBytes = 128 * 1024;
#endif

  static void enter() {
    void (*const body)() = running_->body_;
    StackSwitch().arrive(&running_->caller_bottom_, &running_->caller_bytes_);
    for (;;) {
      body();
      [[maybe_unused]] const Unwatched unwatched;
      suspend();
    }
  }

  static inline Fiber* running_ = nullptr;

  void (*body_)();
  char* stack_;
  Context context_, caller_;
  void *identity_, *caller_identity_ = nullptr;
  const void* caller_bottom_ = nullptr;
  std::size_t caller_bytes_ = 0;
  char left_ = 0;
};

}  // namespace cuda_host

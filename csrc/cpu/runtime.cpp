#include "runtime.h"

#include <torch/csrc/stable/ops.h>
#include <unistd.h>

#include "scratch.h"
#include "team.h"

namespace hyperconv {
namespace {

void run_parallel(int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
  share(count, thread_count(), body, context);
}

int64_t second_level_cache() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return 512 << 10;
}

}  // namespace

const Runtime& runtime() {
  static const Runtime instance{run_parallel, scratch};
  return instance;
}

int64_t thread_count() { return torch::stable::get_num_threads(); }

int64_t cache_bytes() {
  static const int64_t bytes = second_level_cache() / 3;
  return bytes;
}

}  // namespace hyperconv

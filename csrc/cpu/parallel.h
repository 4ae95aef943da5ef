#pragma once

#include "interface.h"
#include "vector.h"

namespace hyperconv::HYPERCONV_ISA {

// body(unit) for every unit in [0, count), spread over the threads of the process.
template <typename Body>
void parallel(const Runtime& runtime, int64_t count, const Body& body) {
  const auto run = [](void* context, int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) (*static_cast<const Body*>(context))(unit);
  };
  runtime.parallel(count, run, const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace hyperconv::HYPERCONV_ISA

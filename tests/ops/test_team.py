"""The threads of csrc/cpu/team.cpp: every unit once, errors arrive, forked children and thread counts are respected."""

import os
import subprocess
import sys

import pytest
from setup_script import ROOT, script

from hyperconv import backends

PROGRAM = r"""
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

#include "team.h"

struct Tally {
  std::vector<int> done;
  int64_t fails_at;
};

void mark(void* context, int64_t begin, int64_t end) {
  Tally& tally = *static_cast<Tally*>(context);
  for (int64_t unit = begin; unit < end; ++unit) {
    if (unit == tally.fails_at) throw std::runtime_error("unit");
    ++tally.done[unit];
  }
}

bool whole(int64_t count, int64_t threads) {
  Tally tally{std::vector<int>(count), -1};
  hyperconv::share(count, threads, mark, &tally);
  for (int times : tally.done) {
    if (times != 1) return false;
  }
  return true;
}

bool fails(int64_t count, int64_t threads, int64_t at) {
  Tally tally{std::vector<int>(count), at};
  try {
    hyperconv::share(count, threads, mark, &tally);
  } catch (const std::runtime_error&) {
    return true;
  }
  return false;
}

int main() {
  std::atomic<int> wrong{0};
  auto calls = [&wrong] {
    for (int64_t count : {0, 1, 2, 3, 64, 1000}) {
      for (int64_t threads : {1, 2, 5, 3}) {
        wrong += !whole(count, threads);
        if (count > 1) wrong += !fails(count, threads, count / 2);
      }
    }
  };
  calls();
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) callers.emplace_back([&calls] { for (int j = 0; j < 20; ++j) calls(); });
  for (auto& caller : callers) caller.join();
  std::printf("%d wrong\n", wrong.load());
}
"""


@pytest.mark.parametrize("sanitizer", [None, "thread", "address,undefined"])
def test_every_unit_is_computed_once_and_errors_arrive(tmp_path, sanitizer):
    (tmp_path / "program.cpp").write_text(PROGRAM)
    flags = [] if sanitizer is None else [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    sources = [tmp_path / "program.cpp", ROOT / "csrc" / "cpu" / "team.cpp"]
    command = [*script.find_compiler(), "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", *flags]
    command += [f"-I{ROOT / 'csrc' / 'cpu'}", *map(str, sources), "-o", str(tmp_path / "program")]
    subprocess.run(command, check=True)
    finished = subprocess.run([tmp_path / "program"], check=False, capture_output=True, text=True, timeout=120)
    assert (finished.returncode, finished.stdout) == (0, "0 wrong\n"), finished.stderr


def answer(program: str) -> str:
    assert backends()["native"]["cpu"] is None
    environment = os.environ | {"HYPERCONV_BACKEND": "native", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


CALL = """
import os, torch
from hyperconv import hyper_conv2d
torch.manual_seed(0)
x, w = torch.randn(4, 20, 40, 40), torch.randn(4, 24, 20, 3, 3)
def call(): return hyper_conv2d(x, w, padding=1)
def threads(): return len(os.listdir("/proc/self/task"))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in Linux's /proc")
def test_as_many_threads_as_torch_was_told():
    program = (
        CALL
        + """
call(); before = threads()
counts = []
for count in (1, 3, 2, 4):
    torch.set_num_threads(count); call(); counts.append(threads() - before)
print(counts)
"""
    )
    assert answer(program) == "[0, 2, 2, 3]"


def test_a_forked_child_computes_the_same():
    """As DataLoader's workers are made: the child has none of its parent's threads."""
    program = (
        CALL
        + """
torch.set_num_threads(2)
expected = call()
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(call(), expected) else 1)
print(os.waitpid(child, 0)[1])
"""
    )
    assert answer(program) == "0"

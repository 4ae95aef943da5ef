import threading
import time

import pytest

from hyperconv.data.ahead import STEPS, Ahead


def test_steps_are_ready_before_they_are_asked_for_and_none_is_made_twice():
    begun = []

    def make(step):
        begun.append((step, threading.current_thread() is threading.main_thread()))
        return step * step

    ahead = Ahead(make, 10)
    assert ahead(0) == 0
    deadline = time.monotonic() + 10
    while len(begun) < STEPS + 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sorted(begun) == [(step, False) for step in range(STEPS + 1)]
    assert [ahead(step) for step in range(1, 10)] == [step * step for step in range(1, 10)]
    assert sorted(step for step, _ in begun) == list(range(10))


def test_any_step_may_be_asked_for_and_errors_come_with_their_step():
    def make(step):
        if step == 3:
            raise OSError("the disk is gone")
        return step

    ahead = Ahead(make, 8)
    assert ahead(6) == 6 and ahead(1) == 1 and ahead(1) == 1 and ahead(12) == 12
    assert ahead(2) == 2
    with pytest.raises(OSError, match="gone"):
        ahead(3)

"""Clocks, and rivals timed in turn."""

import time

import pytest

from hyperconv.bench import race
from hyperconv.bench.race import Race, seconds


def test_the_processors_clock_does_not_count_waiting():
    def wait():
        time.sleep(0.05)

    assert seconds(wait, "processor") < 0.02 and seconds(wait, "cpu") >= 0.05
    medians = Race({"wait": wait, "add": lambda: sum(range(200_000))}, "processor", 0.01, stays="add").run()
    assert medians["wait"] < medians["add"]


def test_race_times_every_rival_in_every_round_and_leaves_slow_ones_behind(monkeypatch):
    calls, now = [], 0.0
    monkeypatch.setitem(race.CLOCKS, "cpu", lambda: now)

    def rival(name, pause):
        def run():
            nonlocal now
            calls.append(name)
            now += pause

        return run

    found = Race({"a": rival("a", 0.01), "b": rival("b", 0.012), "slow": rival("slow", 0.1)}, "cpu", budget=0.2)
    calls.clear()
    assert found.run() == pytest.approx({"a": 0.01, "b": 0.012, "slow": 0.1})
    untimed_and_timed = [name for name in "abba" * 2 for _ in range(2)]
    assert calls == untimed_and_timed

import time

from benchmarks.timing import Race, seconds


def test_the_processors_clock_does_not_count_waiting():
    def wait():
        time.sleep(0.05)

    assert seconds(wait, "processor") < 0.02 and seconds(wait, "cpu") >= 0.05
    medians = Race({"wait": wait, "add": lambda: sum(range(200_000))}, "processor", 0.01, stays="add").run()
    assert medians["wait"] < medians["add"]

"""How an operation is timed: against a clock that the test sets."""

import math

import pytest

from gpudoctor.bench.devices.device import DoesNotTrain, NumpyDevice
from gpudoctor.bench.measuring import timing
from gpudoctor.bench.measuring.batch import halving
from gpudoctor.bench.measuring.timing import Protocol, Timing, rate_of, time_calls


class Watch:
    """A device on which a call takes as long as it is told, and time.monotonic() with it."""

    def __init__(self, monkeypatch, *seconds):
        self.now, self.calls, self.groups, self.seconds = 1000.0, 0, [], list(seconds)
        monkeypatch.setattr(timing.time, "monotonic", lambda: self.now)

    def clock(self, work, calls):
        for _ in range(calls):
            work()
        took = calls * (self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])
        self.now += took
        self.groups.append(calls)
        return took

    def work(self):
        self.calls += 1


def test_groups_last_as_long_as_they_should_whatever_a_call_takes(monkeypatch):
    for seconds in (1e-5, 1e-3, 0.03, 0.5):
        watch = Watch(monkeypatch, seconds)
        timed = time_calls(watch.clock, watch.work, Protocol(warm_up=0.5, groups=5, group=0.2))
        assert timed.calls == math.ceil(0.2 / seconds - 1e-9)
        assert watch.groups[-5:] == [timed.calls] * 5
        assert timed.calls * seconds >= 0.2 * 0.999
        assert timed.median == pytest.approx(seconds)
        assert timed.ended - timed.began == pytest.approx(5 * timed.calls * seconds)
        assert timed.began - 1000 >= 0.5  # the warm-up went before


def test_the_first_call_compiles_and_is_not_what_the_others_are_measured_by(monkeypatch):
    watch = Watch(monkeypatch, 7.0, 1e-3)
    timed = time_calls(watch.clock, watch.work, Protocol(0.1, 3, 0.2))
    assert timed.calls == 200
    assert timed.worst == pytest.approx(1e-3)


def test_a_clock_that_rises_after_the_warm_up_gets_longer_groups_in_the_end(monkeypatch):
    watch = Watch(monkeypatch, *[4e-3] * 3, 1e-3)
    timed = time_calls(watch.clock, watch.work, Protocol(0.0, 3, 0.2))
    assert timed.calls * timed.median >= 0.2 * 0.8
    assert timed.best == timed.worst  # no group from before is among them


def test_median_best_and_spread_are_of_the_groups_and_in_the_unit_of_the_rate():
    timed = Timing(median=0.5, best=0.4, worst=0.8, calls=1, began=3.0, ended=6.0)
    rate = rate_of(timed, 100.0, what="copy", detail="x", unit="GB/s", error=0.0, modelled=250.0)
    assert (rate.median, rate.best, rate.spread) == (200.0, 250.0, pytest.approx((250 - 125) / 200))
    assert (rate.began, rate.ended, rate.error, rate.modelled, rate.precision) == (3.0, 6.0, 0.0, 250.0, "")


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_a_clock_that_gives_no_time_is_a_fault_of_the_device(seconds):
    with pytest.raises(DoesNotTrain, match="clock"):
        time_calls(lambda work, calls: seconds, lambda: None, Protocol(0.0, 3, 0.1))


def test_a_clock_too_coarse_for_one_call_still_ends(monkeypatch):
    watch = Watch(monkeypatch, 0.0)
    timed = time_calls(watch.clock, lambda: None, Protocol(0.0, 2, 1e-4))
    assert 0 < timed.median <= 1e-6


class Full(NumpyDevice):
    """Has memory for `room` images."""

    def __init__(self, room):
        super().__init__()
        self.room, self.released, self.tried = room, 0, []

    def release(self):
        self.released += 1

    def run(self, count):
        self.tried.append(count)
        if count > self.room:
            raise MemoryError(f"no room for {count}")
        return count


def test_out_of_memory_halves_the_batch_twice_and_says_so_each_time():
    device, said = Full(room=300), []
    assert halving(device, 1024, device.run, said.append) == 256
    assert device.tried == [1024, 512, 256]
    assert device.released == 2
    assert said == [
        "out of memory with 1,024 images: trying 512",
        "out of memory with 512 images: trying 256",
    ]


def test_the_third_time_out_of_memory_is_the_end():
    device, said = Full(room=100), []
    with pytest.raises(MemoryError, match="no room for 256"):
        halving(device, 1024, device.run, said.append)
    assert device.tried == [1024, 512, 256]
    assert len(said) == 2


def test_the_arrays_of_the_attempt_that_failed_are_gone_before_the_next():
    import weakref

    import numpy

    device, alive = Full(room=1), []

    def run(count):
        array = numpy.zeros(count)
        assert [one for one in alive if one() is not None] == []
        alive.append(weakref.ref(array))
        return device.run(count)

    assert halving(device, 4, run, lambda line: None) == 1

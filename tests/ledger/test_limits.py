"""The meter of a rate against the algorithm as it is written in the standard."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from runtime.ledger.limits import NS, Meter
from runtime.ledger.rate_headers import duration

ARRIVALS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 4)), max_size=60)
"""Milliseconds since the one before, and units."""


class Virtual:
    """ITU-T I.371's other form, virtual scheduling, in exact fractions: a time of theoretical arrival."""

    def __init__(self, per_min: int) -> None:
        self.per_min = per_min
        self.tat = 0
        """In nanoseconds times per_min."""

    def take(self, units: int, at_ns: int) -> bool:
        tat = max(self.tat, at_ns * self.per_min) + units * 60 * NS
        if tat - at_ns * self.per_min > self.per_min * 60 * NS:
            return False
        self.tat = tat
        return True


@given(st.integers(1, 500), ARRIVALS)
def test_it_admits_what_virtual_scheduling_admits(per_min: int, arrivals: list[tuple[int, int]]) -> None:
    meter, virtual, at = Meter(per_min, now=0.0), Virtual(per_min), 0
    for gap_ms, units in arrivals:
        at += gap_ms
        assert meter.take(units, at / 1000) is virtual.take(units, int(at / 1000 * NS))


@given(st.integers(1, 200), ARRIVALS, st.data())
def test_what_is_given_back_is_as_if_it_had_never_been_taken(
    per_min: int, arrivals: list[tuple[int, int]], data: st.DataObject
) -> None:
    meter, never, at = Meter(per_min, now=0.0), Meter(per_min, now=0.0), 0.0
    back: list[tuple[int, int]] = []
    for gap_ms, units in arrivals:
        at += gap_ms / 1000
        stamp = meter.charge(units, at)
        if gap_ms and data.draw(st.booleans()):
            back.append((units, stamp))
        else:
            never.charge(units, at)
    at += data.draw(st.integers(0, 30))
    for units, stamp in data.draw(st.permutations(back)):
        meter.give_back(units, stamp, at)
    assert meter.state(at).level == never.state(at).level


def test_the_wait_is_exactly_as_long_as_it_takes() -> None:
    meter = Meter(60, now=0.0)
    assert all(meter.take(1, 0.0) for _ in range(60))
    assert meter.wait_s(2, 0.5) == 1.5
    assert not meter.take(1, 0.999)
    assert meter.take(1, 1.0)
    assert meter.wait_s(61, 1.0) == math.inf
    assert meter.full_in_s(1.0) == 60.0


def test_a_changed_limit_keeps_what_was_taken() -> None:
    meter = Meter(10, now=0.0)
    assert meter.take(10, 0.0)
    meter.change(30, 0.0)
    assert meter.room(0.0) == 20
    meter.change(5, 0.0)
    assert meter.room(0.0) == -5


def test_a_meter_goes_on_where_its_state_was_taken() -> None:
    meter = Meter(60, now=0.0)
    assert meter.take(60, 0.0)
    assert Meter(60, now=10.0, state=meter.state(5.0)).room(10.0) == 10


def test_durations_are_written_as_openai_writes_them() -> None:
    assert [duration(s) for s in (0, 0.0125, 1, 360, 3_725)] == ["0s", "13ms", "1s", "6m0s", "1h2m5s"]


def test_the_last_may_be_given_back_first() -> None:
    meter, never = Meter(1, now=0.0), Meter(1, now=0.0)
    first, second = meter.charge(1, 0.001), meter.charge(1, 0.002)
    meter.charge(1, 0.003)
    never.charge(1, 0.003)
    meter.give_back(1, second, 0.003)
    meter.give_back(1, first, 0.003)
    assert meter.state(0.003) == never.state(0.003)

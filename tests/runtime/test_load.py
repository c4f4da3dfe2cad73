"""The latency mean that forgets with time, and the count of calls under way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.load import Ewma, Load


def test_nothing_is_known_before_the_first_sample() -> None:
    assert Ewma().value is None


def test_the_first_sample_is_the_mean() -> None:
    mean = Ewma()
    mean.add(0.4, now=0.0)
    assert mean.value == 0.4


def test_weights_follow_time() -> None:
    mean = Ewma(tau_s=10.0)
    mean.add(1.0, now=0.0)
    mean.add(0.0, now=10.0)
    assert mean.value == pytest.approx(math.exp(-1))


def test_a_burst_does_not_erase_the_past() -> None:
    mean = Ewma(tau_s=10.0)
    mean.add(1.0, now=0.0)
    mean.add(0.0, now=0.0)
    assert mean.value is not None
    assert mean.value > 0.95


def test_after_a_long_silence_the_next_sample_rules() -> None:
    mean = Ewma(tau_s=10.0)
    mean.add(9.0, now=0.0)
    mean.add(0.1, now=1_000.0)
    assert mean.value == pytest.approx(0.1)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), min_size=1, max_size=30))
def test_the_mean_lies_between_the_extremes(samples: list[tuple[float, float]]) -> None:
    mean, now = Ewma(), 0.0
    for sample, gap_s in samples:
        now += gap_s
        mean.add(sample, now)
    assert mean.value is not None
    low, high = min(sample for sample, _ in samples), max(sample for sample, _ in samples)
    assert low - 1e-9 <= mean.value <= high + 1e-9


def test_finished_calls_are_not_in_flight() -> None:
    """The first system reported the last thousand finished requests as active."""
    load = Load()
    for _ in range(30):
        load.begin()
        load.end(1.0, latency_s=0.1)
    load.begin()
    assert load.in_flight == 1


def test_a_failure_is_no_speed() -> None:
    load = Load()
    load.begin()
    load.end(1.0, latency_s=None)
    assert load.latency_s.value is None

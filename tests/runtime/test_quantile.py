"""Quantiles that forget, against numpy's."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.quantile import ERROR, LEAST, MOST, DecayingQuantile

times = st.lists(st.floats(LEAST, MOST), min_size=1, max_size=200)


def filled(samples: list[float], now: float = 0.0) -> DecayingQuantile:
    seen = DecayingQuantile()
    for sample in samples:
        seen.add(sample, now)
    return seen


@given(samples=times, quantile=st.sampled_from((0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0)))
def test_a_quantile_is_right_within_its_error(samples: list[float], quantile: float) -> None:
    value = filled(samples).value(quantile)
    true = float(np.quantile(samples, quantile, method="lower"))
    assert value == pytest.approx(true, rel=ERROR * 1.000001)


@given(samples=st.lists(st.floats(0.0, 1e12), min_size=1, max_size=50))
def test_what_is_out_of_bounds_counts_as_the_bound(samples: list[float]) -> None:
    value = filled(samples).value(0.5)
    assert value is not None
    assert LEAST * (1 - ERROR) <= value <= MOST * (1 + ERROR)


def test_nothing_seen_is_nothing_known() -> None:
    assert DecayingQuantile().value(0.95) is None


def test_what_is_old_is_forgotten() -> None:
    seen = filled([100.0] * 1_000, now=0.0)
    for _ in range(40):
        seen.add(1.0, 6_000.0)  # ten half-lives later: a thousand old ones weigh as much as one
    assert seen.value(0.5) == pytest.approx(1.0, rel=ERROR * 1.000001)
    assert seen.value(0.95) == pytest.approx(1.0, rel=ERROR * 1.000001)


def test_silence_forgets_nothing_by_itself() -> None:
    """Old answers are still the best guess while there are no new ones."""
    seen = filled([2.0] * 30, now=0.0)
    assert seen.value(0.95) == pytest.approx(2.0, rel=ERROR)


@pytest.mark.parametrize("step_s", [0.1, 600.0, 1e6, 1e12])
def test_months_of_running_lose_no_precision(step_s: float) -> None:
    seen, rng = DecayingQuantile(), random.Random(1)
    for at in range(2_000):
        seen.add(rng.uniform(1.0, 2.0), at * step_s)
    value = seen.value(0.95)
    assert value is not None
    assert 1.0 * (1 - ERROR) <= value <= 2.0 * (1 + ERROR)
    assert seen.count == 2_000

"""When a second candidate is asked beside a slow one, and how often at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.balance.entry import Candidate
from runtime.hedge import LEAST_SEEN, MOST_KNOWN, AnswerTimes, HedgeBudget, HedgePolicy

A, B = Candidate("a", "m"), Candidate("b", "m")


@given(shares=st.lists(st.floats(0.0, 1.0), max_size=400), wanted=st.data())
def test_hedges_stay_within_their_share(shares: list[float], wanted: st.DataObject) -> None:
    budget, hedges, paid = HedgeBudget(), 0, 0.0
    for share in shares:
        budget.pay_in(share)
        paid += share
        while budget.covers and wanted.draw(st.booleans()):
            budget.spend()
            hedges += 1
        assert hedges <= paid + 1e-6


def test_the_share_is_used_in_full_where_all_is_slow() -> None:
    budget, hedges = HedgeBudget(), 0
    for _ in range(10_000):
        budget.pay_in(0.05)
        if budget.covers:
            budget.spend()
            hedges += 1
    assert hedges == 500


def test_a_quiet_time_saves_up_no_storm() -> None:
    budget, hedges = HedgeBudget(), 0
    for _ in range(10_000):
        budget.pay_in(0.05)
    while budget.covers:
        budget.spend()
        hedges += 1
    assert hedges == HedgeBudget.MOST


def test_the_wait_is_learnt_after_enough_answers() -> None:
    times, policy = AnswerTimes(), HedgePolicy()
    for at in range(LEAST_SEEN):
        assert times.wait_s(policy, A, streamed=False) is None
        times.add(A, 1.0 + at / 100, 0.0, streamed=False)
    wait_s = times.wait_s(policy, A, streamed=False)
    assert wait_s == pytest.approx(1.18, rel=0.02)
    assert times.wait_s(policy, A, streamed=True) is None, "a first token says nothing about a whole answer"
    assert times.wait_s(policy, B, streamed=False) is None


def test_a_wait_of_the_settings_needs_no_learning() -> None:
    assert AnswerTimes().wait_s(HedgePolicy(after_s=2.5), A, streamed=True) == 2.5


def test_names_of_callers_do_not_fill_the_memory() -> None:
    times = AnswerTimes()
    for at in range(MOST_KNOWN + 50):
        for _ in range(LEAST_SEEN):
            times.add(Candidate("a", str(at)), 1.0, 0.0, streamed=False)
    assert times.wait_s(HedgePolicy(), Candidate("a", "0"), streamed=False) is None
    assert times.wait_s(HedgePolicy(), Candidate("a", str(MOST_KNOWN + 49)), streamed=False) is not None

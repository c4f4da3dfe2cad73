"""The breaker's table, row by row, and its laws under any sequence of events."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Pile
from hypothesis.stateful import RuleBasedStateMachine, consumes, initialize, invariant, rule

from runtime.breaker import LEAST_SHARE, Breaker, BreakerPolicy, Closed, Open, Permit, Probing, Refusal
from runtime.outcome import HANDLING, Blame, FailureKind

POLICY = BreakerPolicy(failures=5, open_s=30.0, probe_ttl_s=20.0)


def permit(breaker: Breaker, now: float) -> Permit:
    admitted = breaker.admit(now)
    assert isinstance(admitted, Permit)
    return admitted


def tripped(now: float = 0.0, policy: BreakerPolicy = POLICY) -> Breaker:
    breaker = Breaker(policy)
    for _ in range(policy.failures):
        breaker.settle(permit(breaker, now), Blame.BAD, now)
    return breaker


def test_it_opens_at_the_fifth_failure_in_a_row() -> None:
    breaker = Breaker(POLICY)
    for count in range(1, 5):
        assert breaker.settle(permit(breaker, 0.0), Blame.BAD, 0.0) is False
        assert breaker.state == Closed(count)
    assert breaker.settle(permit(breaker, 0.0), Blame.BAD, 0.0) is True
    assert breaker.state == Open(30.0)


@pytest.mark.parametrize(
    ("blame", "state"), [(Blame.GOOD, Closed(0)), (Blame.SILENT, Closed(4)), (Blame.BAD, Open(30))]
)
def test_closed(blame: Blame, state: object) -> None:
    breaker = Breaker(POLICY)
    for _ in range(4):
        breaker.settle(permit(breaker, 0.0), Blame.BAD, 0.0)
    breaker.settle(permit(breaker, 0.0), blame, 0.0)
    assert breaker.state == state


def test_the_breaker_does_not_count_errors_of_the_caller_or_of_our_key() -> None:
    """The first system counted every 4xx and every wrong key against the provider."""
    innocent = {
        FailureKind.BAD_REQUEST,
        FailureKind.UNSUPPORTED,
        FailureKind.CONTEXT_OVERFLOW,
        FailureKind.CONTENT_FILTERED,
        FailureKind.TOO_LARGE,
        FailureKind.UNAUTHENTICATED,
        FailureKind.FORBIDDEN,
        FailureKind.MODEL_NOT_FOUND,
        FailureKind.CANCELLED,
        FailureKind.DEADLINE_EXCEEDED,
    }
    breaker = Breaker(POLICY)
    for kind in innocent:
        for _ in range(10):
            breaker.settle(permit(breaker, 0.0), HANDLING[kind].blame, 0.0)
    assert breaker.state == Closed(0)


def test_open_refuses_until_its_time_and_says_how_long() -> None:
    breaker = tripped(now=0.0)
    assert breaker.admit(29.5) == Refusal(0.5)
    assert breaker.retry_in_s(10.0) == 20.0
    assert permit(breaker, 30.0).probe


def test_half_open_admits_one() -> None:
    """The first system let everyone in at once."""
    breaker = tripped(now=0.0)
    assert permit(breaker, 30.0).probe
    assert [breaker.admit(30.0) for _ in range(5)] == [Refusal(20.0)] * 5


@pytest.mark.parametrize(
    ("blame", "state"), [(Blame.GOOD, Closed(0, 31.0)), (Blame.BAD, Open(91)), (Blame.SILENT, Open(31))]
)
def test_probing(blame: Blame, state: object) -> None:
    breaker = tripped(now=0.0)
    assert breaker.settle(permit(breaker, 30.0), blame, 31.0) is True
    assert breaker.state == state


def test_a_probe_that_learned_nothing_leaves_the_door_to_the_next() -> None:
    breaker = tripped(now=0.0)
    breaker.settle(permit(breaker, 30.0), Blame.SILENT, 31.0)
    assert permit(breaker, 31.0).probe


def test_a_lost_probe_is_forgotten() -> None:
    breaker = tripped(now=0.0)
    lost = permit(breaker, 30.0)
    assert isinstance(breaker.admit(49.9), Refusal)
    found = permit(breaker, 50.0)
    assert breaker.settle(lost, Blame.GOOD, 51.0) is False
    assert isinstance(breaker.state, Probing)
    assert breaker.settle(found, Blame.GOOD, 51.0) is True


@pytest.mark.parametrize("blame", Blame)
def test_a_late_answer_is_ignored(blame: Blame) -> None:
    breaker = Breaker(POLICY)
    late = permit(breaker, 0.0)
    for _ in range(POLICY.failures):
        breaker.settle(permit(breaker, 0.0), Blame.BAD, 0.0)
    assert breaker.settle(late, blame, 1.0) is False
    assert breaker.state == Open(30.0)


def test_an_operator_may_open_and_close_it() -> None:
    breaker = Breaker(POLICY)
    breaker.trip(0.0, for_s=5.0)
    assert breaker.admit(0.0) == Refusal(5.0)
    breaker.close()
    assert permit(breaker, 0.0).probe is False


def reopened(breaker: Breaker, now: float) -> float:
    """Let its probe fail at once; for how long it is open then."""
    now += breaker.retry_in_s(now)
    breaker.settle(permit(breaker, now), Blame.BAD, now)
    return breaker.retry_in_s(now)


def test_it_stays_open_twice_as_long_each_time_up_to_a_bound() -> None:
    breaker, now, stays = tripped(0.0, BreakerPolicy(open_max_s=300.0)), 0.0, []
    for _ in range(6):
        now += breaker.retry_in_s(now)
        stays.append(reopened(breaker, now))
    assert stays == [60.0, 120.0, 240.0, 300.0, 300.0, 300.0]


def test_who_opened_together_does_not_probe_together() -> None:
    stays = set()
    for seed in range(50):
        breaker = Breaker(POLICY, rng=random.Random(seed))
        breaker.trip(0.0)
        stays.add(breaker.retry_in_s(0.0))
    assert len(stays) > 40
    assert all(0.75 * 30.0 <= stay <= 1.25 * 30.0 for stay in stays)


@pytest.mark.parametrize(("held_s", "next_s"), [(9.0, 60.0), (10.0, 30.0)])
def test_a_close_that_held_makes_it_short_again(held_s: float, next_s: float) -> None:
    breaker = tripped(now=0.0)
    breaker.settle(permit(breaker, 30.0), Blame.GOOD, 30.0)
    for _ in range(POLICY.failures):
        breaker.settle(permit(breaker, 30.0 + held_s), Blame.BAD, 30.0 + held_s)
    assert breaker.retry_in_s(30.0 + held_s) == next_s


def test_traffic_comes_back_by_and_by() -> None:
    breaker = tripped(now=0.0)
    assert breaker.share(1.0) == 1.0, "who is shut has no share to be held back from"
    breaker.settle(permit(breaker, 30.0), Blame.GOOD, 30.0)
    assert [breaker.share(30.0 + at) for at in (0.0, 5.0, 10.0)] == [LEAST_SHARE, 0.5, 1.0]
    breaker.close()
    assert breaker.share(30.0) == 1.0, "an operator means all of it"


def test_breakers_that_share_their_spells_never_have_the_same_one() -> None:
    spells = itertools.count(1)
    both = [Breaker(POLICY, spell=0, spells=spells), Breaker(POLICY, spell=next(spells), spells=spells)]
    seen = {breaker.spell for breaker in both}
    for at in range(10):
        both[at % 2].trip(float(at))
        assert both[at % 2].spell not in seen
        seen.add(both[at % 2].spell)


@settings(max_examples=60, stateful_step_count=40)
class Laws(RuleBasedStateMachine):
    out = Pile("out")
    """Permits under way."""
    settled = Pile("settled")

    @initialize(failures=st.integers(1, 4))
    def begin(self, failures: int) -> None:
        self.policy = BreakerPolicy(failures=failures, open_s=30.0, probe_ttl_s=20.0)
        self.breaker = Breaker(self.policy, rng=random.Random(failures))
        self.now = 0.0
        self.bad_in_a_row = 0
        self.probe_given_at: float | None = None

    @rule(seconds=st.sampled_from([0.0, 0.1, 10.0, 20.0, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=out)
    def admit(self) -> Permit | Refusal:
        wait_s = self.breaker.retry_in_s(self.now)
        admitted = self.breaker.admit(self.now)
        # What it says it would do is what it does.
        assert isinstance(admitted, Permit) == (wait_s == 0.0)
        if isinstance(admitted, Permit) and admitted.probe:
            if self.probe_given_at is not None:
                assert self.now >= self.probe_given_at + self.policy.probe_ttl_s, "two probes at a time"
            self.probe_given_at = self.now
        return admitted

    @rule(target=settled, admitted=consumes(out), blame=st.sampled_from(Blame))
    def settle(self, admitted: Permit | Refusal, blame: Blame) -> Permit | Refusal:
        if isinstance(admitted, Refusal):
            return admitted
        before, spell = self.breaker.state, self.breaker.spell
        changed = self.breaker.settle(admitted, blame, self.now)
        assert changed == (self.breaker.spell != spell)
        if admitted.spell != spell:
            assert self.breaker.state == before, "a late answer counted"
            return admitted
        if isinstance(before, Closed):
            self.bad_in_a_row = {Blame.BAD: self.bad_in_a_row + 1, Blame.GOOD: 0}.get(blame, self.bad_in_a_row)
            assert isinstance(self.breaker.state, Open) == (self.bad_in_a_row >= self.policy.failures)
        if changed:
            self.bad_in_a_row = 0
            self.probe_given_at = None
        return admitted

    @rule(admitted=settled, blame=st.sampled_from(Blame))
    def settle_a_probe_again(self, admitted: Permit | Refusal, blame: Blame) -> None:
        before = self.breaker.state
        if isinstance(admitted, Permit) and admitted.probe:
            assert self.breaker.settle(admitted, blame, self.now) is False
            assert self.breaker.state == before, "a probe counted twice"

    @invariant()
    def an_idle_breaker_always_admits_again(self) -> None:
        if hasattr(self, "breaker"):
            assert self.breaker.retry_in_s(self.now + self.policy.open_max_s) == 0.0

    @invariant()
    def what_has_closed_gets_some_traffic_and_in_the_end_all(self) -> None:
        if hasattr(self, "breaker"):
            assert 0.0 < self.breaker.share(self.now) <= 1.0
            assert self.breaker.share(self.now + self.policy.ramp_s) == 1.0


TestLaws = Laws.TestCase

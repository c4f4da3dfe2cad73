"""Who is asked next, and when: failures in, decisions out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.balance.entry import Candidate
from runtime.failover import Ask, Failover, GiveUp, RetryBudget, RetryPolicy, backoff_s
from runtime.outcome import HANDLING, Failure, FailureKind

K = FailureKind
A, B, C = Candidate("a", "m"), Candidate("b", "m"), Candidate("c", "m")
PLENTY_S = 600.0


def failover(*candidates: Candidate, ratio: float = 0.2, seed: int = 1, **policy: object) -> Failover:
    return Failover(
        candidates,
        RetryPolicy(**policy),  # type: ignore[arg-type]
        random.Random(seed),
        RetryBudget(ratio),
    )


def failed(kind: FailureKind, detail: str = "", retry_after_s: float | None = None) -> Failure:
    return Failure(kind=kind, detail=detail, retry_after_s=retry_after_s)


@pytest.mark.parametrize("kind", [kind for kind in K if HANDLING[kind].try_elsewhere])
def test_another_candidate_is_asked_at_once(kind: FailureKind) -> None:
    run = failover(A, B)
    assert run.first() == A
    assert run.after(failed(kind), remaining_s=PLENTY_S) == Ask(B, 0.0)


@pytest.mark.parametrize("kind", [kind for kind in K if not HANDLING[kind].try_elsewhere])
def test_failover_honours_what_cannot_be_repeated(kind: FailureKind) -> None:
    """The first system repeated a bad request at the next provider, too."""
    failure = failed(kind)
    assert failover(A, B).after(failure, remaining_s=PLENTY_S) == GiveUp(failure)


def test_failover_changes_the_model_with_the_provider() -> None:
    """The first system asked the next provider for the first one's model."""
    run = failover(Candidate("openai", "gpt-4o"), Candidate("anthropic", "claude"))
    step = run.after(failed(K.UNAVAILABLE), remaining_s=PLENTY_S)
    assert isinstance(step, Ask)
    assert step.candidate == Candidate("anthropic", "claude")


def test_retry_really_happens() -> None:
    """Of three promised attempts the first system made one."""
    run = failover(A, per_candidate=3)
    waits = []
    for _ in range(2):
        step = run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S)
        assert isinstance(step, Ask)
        waits.append(step.after_s)
    assert isinstance(run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S), GiveUp)
    assert all(0.0 <= wait <= 0.8 for wait in waits)


def test_a_provider_may_have_its_own_number_of_tries() -> None:
    run = failover(A, per_provider={"a": 1})
    assert isinstance(run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S), GiveUp)


def test_a_retry_goes_to_whoever_may_be_asked_soonest() -> None:
    run = failover(A, B)
    run.after(failed(K.RATE_LIMITED, retry_after_s=9.0), remaining_s=PLENTY_S)
    step = run.after(failed(K.RATE_LIMITED, retry_after_s=2.0), remaining_s=PLENTY_S)
    assert isinstance(step, Ask)
    assert step.candidate == B
    assert 2.0 <= step.after_s <= 2.4


def test_an_earlier_candidate_is_asked_again_if_the_last_is_hopeless() -> None:
    run = failover(A, B)
    run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S)
    step = run.after(failed(K.MODEL_NOT_FOUND), remaining_s=PLENTY_S)
    assert isinstance(step, Ask)
    assert step.candidate == A


def test_a_wait_that_does_not_fit_the_deadline_is_not_begun() -> None:
    assert isinstance(failover(A).after(failed(K.RATE_LIMITED, retry_after_s=5.0), remaining_s=4.9), GiveUp)


def test_our_own_refusal_is_not_waited_for() -> None:
    assert isinstance(failover(A).after(failed(K.REFUSED, retry_after_s=0.1), remaining_s=PLENTY_S), GiveUp)


def test_one_attempt_means_one() -> None:
    assert isinstance(failover(A, B, max_attempts=1).after(failed(K.OVERLOADED), remaining_s=PLENTY_S), GiveUp)


# What the caller is told in the end.


def verdict(*failures: Failure) -> Failure:
    candidates = [Candidate(str(at), "m") for at in range(len(failures))]
    run = failover(*candidates, max_attempts=len(failures))
    step: Ask | GiveUp | None = None
    for failure in failures:
        step = run.after(failure, remaining_s=PLENTY_S)
    assert isinstance(step, GiveUp)
    return step.failure


def test_a_wrong_request_is_the_last_word() -> None:
    wrong = failed(K.BAD_REQUEST)
    assert verdict(failed(K.OVERLOADED), wrong) == wrong


def test_what_may_pass_tells_more_than_a_stand_in_that_lacks_the_model() -> None:
    passing = failed(K.RATE_LIMITED, retry_after_s=1.0)
    assert verdict(passing, failed(K.MODEL_NOT_FOUND)) == passing


def test_the_model_asked_for_tells_more_than_its_stand_ins() -> None:
    asked_for = failed(K.CONTEXT_OVERFLOW)
    assert verdict(asked_for, failed(K.UNAUTHENTICATED)) == asked_for


def test_what_opened_the_breaker_tells_more_than_the_breaker() -> None:
    cause = failed(K.UNAVAILABLE)
    assert verdict(cause, failed(K.REFUSED, retry_after_s=30.0)) == cause


def test_where_all_are_shut_the_soonest_is_named() -> None:
    soon = failed(K.REFUSED, retry_after_s=3.0)
    assert verdict(failed(K.REFUSED, retry_after_s=20.0), soon, failed(K.REFUSED, retry_after_s=30.0)) == soon


# The budget.


def test_an_outage_is_not_multiplied() -> None:
    budget, retries = RetryBudget(0.2), 0
    for _ in range(1_000):
        run = Failover([A], RetryPolicy(), random.Random(1), budget)
        retries += isinstance(run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S), Ask)
    assert retries <= 0.2 * 1_000 + RetryBudget.RESERVE
    assert retries >= 0.2 * 1_000


def test_no_budget_no_retry_but_still_failover() -> None:
    run = failover(A, B, ratio=0.0)
    assert run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S) == Ask(B, 0.0)
    assert isinstance(run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S), GiveUp)


def test_a_long_row_of_retries_has_a_bounded_wait() -> None:
    """2.0**1024 is no float."""
    assert backoff_s(5_000, RetryPolicy(), random.Random(1)) <= RetryPolicy().cap_s


def test_many_routes_make_no_larger_storm() -> None:
    """One budget is for all of them, whatever their own attempts are."""
    budget, retries = RetryBudget(0.2), 0
    for at in range(1_000):
        run = Failover([Candidate("a", f"m{at % 50}")], RetryPolicy(max_attempts=2 + at % 7), random.Random(at), budget)
        while isinstance(run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S), Ask):
            retries += 1
    assert retries <= 0.2 * 1_000 + RetryBudget.RESERVE


# Waits.


def test_a_wait_counts_from_when_it_was_named() -> None:
    run = failover(A, B)
    run.after(failed(K.RATE_LIMITED, retry_after_s=9.0), remaining_s=100.0)
    step = run.after(failed(K.MODEL_NOT_FOUND), remaining_s=95.0)
    assert isinstance(step, Ask)
    assert step.candidate == A
    assert 4.0 <= step.after_s <= 4.4, "five of the nine seconds have passed"


def test_who_gives_up_for_a_wait_tells_of_it() -> None:
    step = failover(A).after(failed(K.RATE_LIMITED, retry_after_s=50.0), remaining_s=20.0)
    assert isinstance(step, GiveUp)
    assert step.failure.retry_after_s == 50.0


# Another key.


def test_another_key_of_the_same_provider_comes_first_and_is_no_retry() -> None:
    run = failover(A, B, ratio=0.0, max_attempts=3)
    other_key = replace(failed(K.RATE_LIMITED, retry_after_s=60.0), another_key=True)
    assert run.after(other_key, remaining_s=PLENTY_S) == Ask(A, 0.0)
    assert run.after(failed(K.RATE_LIMITED, retry_after_s=60.0), remaining_s=PLENTY_S) == Ask(B, 0.0)
    assert isinstance(run.after(other_key, remaining_s=PLENTY_S), GiveUp), "keys count as attempts"


# Requests that are too long.


class Sizes:
    """Windows by provider; `more` are the route's larger ones."""

    def __init__(self, *more: Candidate, **windows: int) -> None:
        self._more = more
        self._windows = windows

    def window(self, candidate: Candidate) -> int | None:
        return self._windows.get(candidate.provider)

    def larger(self) -> Sequence[Candidate]:
        return self._more


def outgrown(run: Failover) -> list[str]:
    """Who is asked, each finding it too long."""
    asked = [run.first().provider]
    while isinstance(step := run.after(failed(K.CONTEXT_OVERFLOW), remaining_s=PLENTY_S), Ask):
        asked.append(step.candidate.provider)
    return asked


def long_run(sizes: Sizes, *names: str, max_attempts: int = 20) -> Failover:
    plan = [Candidate(name, "m") for name in names]
    return Failover(plan, RetryPolicy(max_attempts=max_attempts), random.Random(1), RetryBudget(0.2), sizes)


def test_what_is_too_long_goes_to_larger_windows_only() -> None:
    sizes = Sizes(Candidate("huge", "m"), Candidate("tiny", "m"), a=8, small=4, same=8, big=100, huge=1_000, tiny=2)
    assert outgrown(long_run(sizes, "a", "small", "unknown", "same", "big")) == ["a", "big", "unknown", "huge"]
    sizes = Sizes(Candidate("huge", "m"), a=8, big=100, huge=90)
    assert outgrown(long_run(sizes, "a", "unknown", "big")) == ["a", "big", "unknown"]


def test_where_nothing_is_known_the_order_stays() -> None:
    assert outgrown(long_run(Sizes(Candidate("l", "m"), b=4), "a", "b", "c")) == ["a", "b", "c", "l"]


def test_the_larger_ones_are_for_long_requests_alone() -> None:
    run = long_run(Sizes(Candidate("l", "m")), "a")
    step = run.after(failed(K.MODEL_NOT_FOUND), remaining_s=PLENTY_S)
    assert isinstance(step, GiveUp)


def test_a_small_one_that_failed_before_is_not_tried_again_with_what_is_too_long() -> None:
    run = long_run(Sizes(a=4, b=8), "a", "b")
    assert run.after(failed(K.OVERLOADED), remaining_s=PLENTY_S) == Ask(B, 0.0)
    step = run.after(failed(K.CONTEXT_OVERFLOW), remaining_s=PLENTY_S)
    assert isinstance(step, GiveUp)


# Filters.


def test_a_filter_is_the_last_word_unless_the_route_says_next() -> None:
    filtered = failed(K.CONTENT_FILTERED)
    assert failover(A, B).after(filtered, remaining_s=PLENTY_S) == GiveUp(filtered)
    run = failover(A, B, past_filters=True)
    assert run.after(filtered, remaining_s=PLENTY_S) == Ask(B, 0.0)
    assert run.after(filtered, remaining_s=PLENTY_S) == GiveUp(filtered), "and nobody is asked twice"


# Two at once.


def test_a_hedge_is_an_attempt_and_never_the_same_candidate() -> None:
    run = failover(A, B, C, max_attempts=2)
    assert run.hedge(lambda one: one != B) == C
    assert run.hedge(lambda one: True) is None, "the attempts are used up"
    run.failed(A, failed(K.UNAVAILABLE), remaining_s=PLENTY_S)
    assert isinstance(run.after(failed(K.UNAVAILABLE), remaining_s=PLENTY_S), GiveUp)


def test_after_both_failed_the_rest_is_asked() -> None:
    run = failover(A, B, C)
    assert run.hedge(lambda one: True) == B
    run.failed(B, failed(K.UNAVAILABLE), remaining_s=PLENTY_S)
    assert run.after(failed(K.TIMED_OUT), remaining_s=PLENTY_S, of=A) == Ask(C, 0.0)


def test_a_final_verdict_of_either_is_final() -> None:
    run, wrong = failover(A, B, C), failed(K.BAD_REQUEST)
    assert run.hedge(lambda one: True) == B
    run.failed(B, wrong, remaining_s=PLENTY_S)
    assert run.after(failed(K.UNAVAILABLE), remaining_s=PLENTY_S, of=A) == GiveUp(wrong)


failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    retry_after_s=st.none() | st.floats(0.0, 100.0),
    another_key=st.booleans(),
)


@given(
    count=st.integers(1, 5),
    came=st.lists(st.tuples(failures, st.floats(0.0, 50.0)), min_size=40, max_size=40),
    policy=st.builds(
        RetryPolicy,
        max_attempts=st.integers(1, 8),
        per_candidate=st.integers(1, 4),
        base_s=st.floats(0.01, 5.0),
        past_filters=st.booleans(),
    ),
    windows=st.dictionaries(st.sampled_from("01234x"), st.integers(1, 4)),
    hedged=st.lists(st.booleans(), min_size=40, max_size=40),
    ratio=st.floats(0.0, 1.0),
    deadline_s=st.floats(0.0, 200.0),
    seed=st.integers(),
)
def test_laws(
    *,
    count: int,
    came: list[tuple[Failure, float]],
    policy: RetryPolicy,
    windows: dict[str, int],
    hedged: list[bool],
    ratio: float,
    deadline_s: float,
    seed: int,
) -> None:
    candidates = [Candidate(str(at), "m") for at in range(count)]
    larger = Candidate("x", "m")
    budget = RetryBudget(ratio)
    run = Failover(candidates, policy, random.Random(seed), budget, Sizes(larger, **windows))
    asked, now, retries = [run.first()], 0.0, 0
    under_way = [run.first()]
    last: dict[Candidate, tuple[Failure, float]] = {}
    told: list[Failure] = []
    others = iter(hedged)
    for failure, took_s in came:
        if len(under_way) == 1 and next(others) and (second := run.hedge(lambda one: True)) is not None:
            assert second not in asked, "a hedge asks somebody else"
            asked.append(second)
            under_way.append(second)
        now += took_s
        failing = under_way.pop(0)
        last[failing] = failure, now
        told.append(failure)
        if under_way:
            run.failed(failing, failure, remaining_s=deadline_s - now)
            continue
        step = run.after(failure, remaining_s=deadline_s - now, of=failing)
        if isinstance(step, GiveUp):
            break
        assert now + step.after_s < deadline_s, "asked past the deadline"
        assert not any(is_final(one, policy) for one in told), "asked after a final verdict"
        outgrew = [
            windows[one.provider] for one, (said, _) in last.items() if too_long(said) and one.provider in windows
        ]
        if outgrew and step.candidate.provider in windows and not failure.another_key:
            assert windows[step.candidate.provider] > max(outgrew), "too small for what was too long before"
        if step.candidate == failing and failure.another_key:
            assert step.after_s == 0.0
        elif step.candidate in asked:
            retries += 1
            said, at = last[step.candidate]
            assert said.retryable, "repeated what cannot be"
            assert now + step.after_s >= at + (said.retry_after_s or 0.0) - 1e-6, "came back too soon"
        else:
            assert step.after_s == 0.0
            assert step.candidate != larger or any(map(too_long, told)), "the larger ones are for long requests"
        asked.append(step.candidate)
        under_way.append(step.candidate)
        now += step.after_s
    else:
        raise AssertionError("it never gave up")
    assert len(asked) <= policy.max_attempts
    keys = sum(failure.another_key for failure in told)
    assert max(asked.count(one) for one in candidates) <= policy.per_candidate + keys
    assert retries <= (RetryBudget.RESERVE + ratio if ratio else 0)
    assert step.failure in told


def too_long(failure: Failure) -> bool:
    return failure.kind is K.CONTEXT_OVERFLOW


def is_final(failure: Failure, policy: RetryPolicy) -> bool:
    filtered = policy.past_filters and failure.kind is K.CONTENT_FILTERED
    handling = failure.handling
    return not (handling.try_elsewhere or handling.try_again or failure.another_key or filtered)

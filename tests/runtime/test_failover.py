"""Who is asked next, and when: failures in, decisions out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.failover import Ask, Failover, GiveUp, RetryBudget, RetryPolicy, backoff_s
from runtime.outcome import HANDLING, Failure, FailureKind
from runtime.strategy import Candidate

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


failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    retry_after_s=st.none() | st.floats(0.0, 100.0),
)


@given(
    count=st.integers(1, 5),
    came=st.lists(st.tuples(failures, st.floats(0.0, 50.0)), min_size=40, max_size=40),
    policy=st.builds(
        RetryPolicy, max_attempts=st.integers(1, 8), per_candidate=st.integers(1, 4), base_s=st.floats(0.01, 5.0)
    ),
    ratio=st.floats(0.0, 1.0),
    deadline_s=st.floats(0.0, 200.0),
    seed=st.integers(),
)
def test_laws(
    *,
    count: int,
    came: list[tuple[Failure, float]],
    policy: RetryPolicy,
    ratio: float,
    deadline_s: float,
    seed: int,
) -> None:
    candidates = [Candidate(str(at), "m") for at in range(count)]
    budget = RetryBudget(ratio)
    run = Failover(candidates, policy, random.Random(seed), budget)
    asked, now, retries = [run.first()], 0.0, 0
    last: dict[Candidate, Failure] = {}
    for failure, took_s in came:
        now += took_s
        last[asked[-1]] = failure
        step = run.after(failure, remaining_s=deadline_s - now)
        if isinstance(step, GiveUp):
            break
        assert now + step.after_s < deadline_s, "asked past the deadline"
        if step.candidate in asked:
            retries += 1
            assert last[step.candidate].retryable, "repeated what cannot be"
            assert step.after_s >= (last[step.candidate].retry_after_s or 0.0), "came back too soon"
        else:
            assert step.after_s == 0.0
        asked.append(step.candidate)
        now += step.after_s
    else:
        raise AssertionError("it never gave up")
    assert len(asked) <= policy.max_attempts
    assert max(asked.count(one) for one in candidates) <= policy.per_candidate
    assert retries <= (RetryBudget.RESERVE + ratio if ratio else 0)
    assert step.failure in last.values() or step.failure in [failure for failure, _ in came]

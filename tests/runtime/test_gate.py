"""The door of one provider at one edge: the stricter of what it knows itself and what was published."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from runtime.breaker import BreakerPolicy, Permit, Refusal
from runtime.feed import Published
from runtime.gate import ASKING_S, AskAuthority, Gate, Ticket
from runtime.outcome import Failure, FailureKind

POLICY = BreakerPolicy(failures=5, open_s=30.0, probe_ttl_s=20.0)
BAD = Failure(kind=FailureKind.UNAVAILABLE)


def gate(seed: int = 1) -> Gate:
    return Gate(POLICY, random.Random(seed))


def ticket(door: Gate, now: float) -> Ticket:
    admitted = door.admit(now)
    assert isinstance(admitted, Ticket)
    return admitted


def asked(door: Gate, now: float) -> AskAuthority:
    admitted = door.admit(now)
    assert isinstance(admitted, AskAuthority)
    return admitted


def limited(retry_after_s: float | None = None) -> Failure:
    return Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=retry_after_s)


def published(*, open_for_s: float | None = None, spell: int = 7, throttled_for_s: float = 0.0) -> Published:
    return Published(
        provider="p",
        spell=spell,
        open=open_for_s is not None,
        retry_in_s=open_for_s or 0.0,
        throttled_for_s=throttled_for_s,
    )


def tripped(now: float) -> Gate:
    door = gate()
    for _ in range(5):
        door.settle(ticket(door, now), BAD, now)
    return door


def test_a_closed_door_admits_in_the_authoritys_spell() -> None:
    door = gate()
    door.adopt(published(spell=7), now=0.0)
    assert ticket(door, 0.0).spell == 7


def test_the_fifth_failure_is_news() -> None:
    door = gate()
    news = [door.settle(ticket(door, 0.0), BAD, 0.0) for _ in range(5)]
    assert news == [False] * 4 + [True]
    assert door.admit(1.0) == Refusal(29.0)
    assert door.why(1.0) == "open"


def test_a_published_state_does_not_heal_a_local_trip() -> None:
    door = tripped(now=0.0)
    door.adopt(published(), now=1.0)
    assert door.admit(1.0) == Refusal(29.0)
    assert door.admit(30.0) == Ticket(Permit(2, probe=True), 7, probe=True)


def test_an_open_breaker_is_called_open_also_when_it_is_due() -> None:
    assert tripped(now=0.0).why(31.0) == "open"


def test_a_published_opening_refuses_until_its_time() -> None:
    door = gate()
    door.adopt(published(open_for_s=10.0), now=100.0)
    assert door.admit(105.0) == Refusal(5.0)
    assert door.own_retry_in_s(105.0) == 0.0
    asked(door, 110.0)


def test_a_granted_probe_carries_the_authoritys_spell() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    granted = door.granted(asked(door, 0.0), Permit(8, probe=True), 0.0)
    assert isinstance(granted, Ticket)
    assert (granted.spell, granted.probe) == (8, True)


def test_a_denied_probe_is_not_asked_for_again_too_soon() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    assert door.granted(asked(door, 0.0), Refusal(12.0), 0.0) == Refusal(12.0)
    assert door.admit(11.0) == Refusal(1.0)
    asked(door, 12.0)


def test_while_one_caller_asks_the_others_do_not() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    ask = asked(door, 0.0)
    assert [door.admit(0.0) for _ in range(3)] == [Refusal(ASKING_S)] * 3
    door.withdrawn(ask, 0.0)
    asked(door, 0.0)


def test_a_caller_who_goes_away_while_it_asks_gives_the_local_probe_back() -> None:
    door = tripped(now=0.0)
    door.adopt(published(open_for_s=0.0), now=30.0)
    door.withdrawn(asked(door, 30.0), 30.5)
    asked(door, 30.5)


def test_without_an_authority_an_edge_probes_once_per_jittered_interval() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    now, probes = 0.0, []
    while now < 300.0:
        admitted = door.admit(now)
        if isinstance(admitted, AskAuthority):
            admitted = door.granted(admitted, None, now)
        if isinstance(admitted, Ticket):
            door.settle(admitted, BAD, now)
            probes.append(now)
        now += 0.5
    gaps = [later - sooner for sooner, later in pairwise(probes)]
    assert all(gap >= 0.75 * POLICY.open_s for gap in gaps)
    assert len(probes) >= 5
    assert len(set(gaps)) > 1, "no jitter"


def test_a_probe_is_news_whatever_came_of_it() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    granted = door.granted(asked(door, 0.0), Permit(8, probe=True), 0.0)
    assert isinstance(granted, Ticket)
    assert door.settle(granted, Failure(kind=FailureKind.CANCELLED), 1.0) is True


# 429.


def test_a_rate_limit_shuts_the_door_for_as_long_as_it_says() -> None:
    door = gate()
    assert door.settle(ticket(door, 0.0), limited(7.0), 0.0) is True
    assert door.why(1.0) == "throttled"
    assert door.admit(6.0) == Refusal(1.0)
    ticket(door, 7.0)


def test_nobody_shortens_a_wait_that_the_provider_asked_for() -> None:
    door = gate()
    late = ticket(door, 0.0)
    door.settle(ticket(door, 0.0), limited(60.0), 0.0)
    door.settle(late, limited(1.0), 0.0)
    door.adopt(published(throttled_for_s=2.0), now=1.0)
    assert door.throttled_for_s(10.0) == 50.0


def test_an_echo_of_its_own_report_does_not_make_a_wait_longer() -> None:
    door = gate()
    door.settle(ticket(door, 0.0), limited(1.0), 0.0)
    door.adopt(published(throttled_for_s=1.0), now=0.05)
    ticket(door, 1.0)
    door.adopt(published(throttled_for_s=1.0), now=1.0)
    assert door.throttled_for_s(1.0) == 1.0


def test_a_published_throttle_counts_here_too() -> None:
    door = gate()
    door.adopt(published(throttled_for_s=5.0), now=0.0)
    assert door.admit(1.0) == Refusal(4.0)


def test_a_rate_limit_without_a_time_backs_off_longer_each_time() -> None:
    longest = []
    for seed in range(20):
        door, now, waits = gate(seed), 0.0, []
        for _ in range(8):
            door.settle(ticket(door, now), limited(), now)
            waits.append(door.throttled_for_s(now))
            now += waits[-1]
        assert all(0.999 <= wait <= 60.001 for wait in waits)
        longest.append(max(waits))
    assert max(longest) > 20.0


def test_the_answers_of_one_burst_are_one_reason_to_wait() -> None:
    door = gate()
    burst = [ticket(door, 0.0) for _ in range(2_000)]
    news = [door.settle(one, limited(), 0.0) for one in burst]
    assert door.throttled_for_s(0.0) <= 2.0
    assert news == [True] + [False] * 1_999


def test_a_named_wait_that_barely_moves_is_no_news() -> None:
    door = gate()
    burst = [ticket(door, 0.0) for _ in range(100)]
    news = [door.settle(one, limited(1.0), at / 1_000) for at, one in enumerate(burst)]
    assert sum(news) == 1


def test_a_success_forgets_how_often_it_was_too_much() -> None:
    door, now = gate(), 0.0
    for _ in range(6):
        door.settle(ticket(door, now), limited(), now)
        now += 60.0
    door.settle(ticket(door, now), None, now)
    door.settle(ticket(door, now), limited(), now)
    assert door.throttled_for_s(now) <= 2.0


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.CANCELLED, FailureKind.UNAUTHENTICATED])
def test_silent_failures_do_not_open_the_breaker(kind: FailureKind) -> None:
    door = gate()
    for _ in range(10):
        door.settle(ticket(door, 0.0), Failure(kind=kind, retry_after_s=0.0), 0.0)
    ticket(door, 0.0)


@pytest.mark.parametrize("answer", [Permit(9, probe=True), None])
def test_a_wait_that_was_named_while_the_authority_was_asked_is_kept(answer: Permit | None) -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    ask = asked(door, 0.0)
    door.adopt(published(open_for_s=0.0, throttled_for_s=10.0), now=0.5)
    assert door.granted(ask, answer, 1.0) == Refusal(9.5)
    assert isinstance(door.admit(10.6), AskAuthority), "and afterwards it is asked again"

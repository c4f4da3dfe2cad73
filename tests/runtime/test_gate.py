"""The doors of one provider at one edge: the stricter of what it knows itself and what was published."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime.breaker import BreakerPolicy, Permit, Refusal
from runtime.feed import DoorState, Published
from runtime.gate import ASKING_S, MOST_DOORS, AskAuthority, Gate, Ticket
from runtime.keyring import Key
from runtime.outcome import Failure, FailureKind
from tests.fakes.chance import Steady

POLICY = BreakerPolicy(failures=5, open_s=30.0, probe_ttl_s=20.0)
BAD = Failure(kind=FailureKind.UNAVAILABLE)


def gate(seed: int | None = None) -> Gate:
    return Gate(POLICY, Steady() if seed is None else random.Random(seed))


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
    news = [door.settle(ticket(door, 0.0), BAD, 0.0).urgent for _ in range(5)]
    assert news == [False] * 4 + [True]
    assert door.admit(1.0) == Refusal(29.0)
    assert door.why(1.0) == "open"


def test_a_published_state_does_not_heal_a_local_trip() -> None:
    door = tripped(now=0.0)
    door.adopt(published(), now=1.0)
    assert door.admit(1.0) == Refusal(29.0)
    probe = ticket(door, 30.0)
    assert (probe.spell, probe.probe, probe.permit.probe, probe.whole.probe) == (7, True, True, False)


def test_an_open_breaker_is_called_open_also_when_it_is_due() -> None:
    assert tripped(now=0.0).why(31.0) == "open"


def test_a_published_opening_refuses_until_its_time() -> None:
    door = gate()
    door.adopt(published(open_for_s=10.0), now=100.0)
    assert door.admit(105.0) == Refusal(5.0)
    assert door.own_retry_in_s(105.0) == {}
    asked(door, 110.0)


def test_a_granted_probe_carries_the_authoritys_spell() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    granted = door.granted(asked(door, 0.0), Permit(8, probe=True), 0.0)
    assert isinstance(granted, Ticket)
    assert (granted.spell, granted.probe) == (8, True)


def test_news_that_it_is_closed_makes_a_probe_that_nobody_answered_for_a_call_like_any_other() -> None:
    door = gate()
    door.adopt(published(open_for_s=0.0), now=0.0)
    ask = asked(door, 0.0)
    door.adopt(published(), now=0.5)
    granted = door.granted(ask, None, 1.0)
    assert isinstance(granted, Ticket)
    assert not granted.probe


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
    door = gate(seed=1)
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
    assert door.settle(granted, Failure(kind=FailureKind.CANCELLED), 1.0).urgent


# 429.


def test_a_rate_limit_shuts_the_door_for_as_long_as_it_says() -> None:
    door = gate()
    assert door.settle(ticket(door, 0.0), limited(7.0), 0.0).urgent
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
    news = [door.settle(one, limited(), 0.0).urgent for one in burst]
    assert door.throttled_for_s(0.0) <= 2.0
    assert news == [True] + [False] * 1_999


def test_a_named_wait_that_barely_moves_is_no_news() -> None:
    door = gate()
    burst = [ticket(door, 0.0) for _ in range(100)]
    news = [door.settle(one, limited(1.0), at / 1_000).urgent for at, one in enumerate(burst)]
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


# A door for each model.


def model_ticket(door: Gate, model: str, now: float) -> Ticket:
    admitted = door.admit(now, model)
    assert isinstance(admitted, Ticket)
    return admitted


UNREACHED = Failure(kind=FailureKind.UNAVAILABLE, scope="provider")


def fail(door: Gate, model: str, now: float, times: int = 5, failure: Failure = BAD) -> None:
    for _ in range(times):
        door.settle(model_ticket(door, model, now), failure, now)


def test_one_model_in_trouble_shuts_no_other() -> None:
    door = gate()
    fail(door, "ill", 0.0)
    assert door.admit(1.0, "ill") == Refusal(29.0)
    assert (door.why(1.0, "ill"), door.why(1.0, "well")) == ("open", "closed")
    model_ticket(door, "well", 1.0)
    assert list(door.shut(1.0)) == ["ill"]


def test_calls_that_reach_nobody_shut_the_provider() -> None:
    door = gate()
    fail(door, "a", 0.0, failure=UNREACHED)
    assert door.admit(1.0, "b") == Refusal(29.0)
    assert door.shut(1.0) == {}, "nothing is known of the model"


def test_two_models_in_trouble_shut_the_provider() -> None:
    door = gate()
    fail(door, "a", 0.0, times=4)
    model_ticket(door, "c", 0.0)
    fail(door, "b", 0.0, times=1)
    assert door.admit(1.0, "c") == Refusal(29.0)


def test_a_success_between_keeps_the_provider_open() -> None:
    door = gate()
    fail(door, "a", 0.0, times=4)
    door.settle(model_ticket(door, "b", 0.0), None, 0.0)
    fail(door, "b", 0.0, times=4)
    model_ticket(door, "c", 0.0)


def test_one_probe_opens_both_doors() -> None:
    door = gate()
    fail(door, "a", 0.0, times=4)
    fail(door, "b", 0.0, times=1)
    fail_again = model_ticket(door, "a", 30.0)
    assert fail_again.probe
    assert door.admit(30.0, "b") == Refusal(POLICY.probe_ttl_s)
    door.settle(fail_again, None, 31.0)
    assert not model_ticket(door, "b", 31.0).probe


def test_people_see_a_provider_shut_where_nothing_has_succeeded_since() -> None:
    door = gate()
    fail(door, "a", 0.0)
    assert (door.whole(1.0).why, door.whole(1.0).retry_in_s) == ("open", 29.0)
    assert door.own_retry_in_s(1.0) == {"": 29.0, "a": 29.0}
    door.settle(model_ticket(door, "b", 1.0), None, 1.0)
    assert door.whole(1.0).why == "closed"
    assert door.own_retry_in_s(1.0) == {"a": 29.0}


def test_a_published_model_is_shut_alone() -> None:
    door = gate()
    door.adopt(Published(provider="p", spell=9, models={"m": DoorState(open=True, retry_in_s=10.0)}), now=0.0)
    assert door.admit(1.0, "m") == Refusal(9.0)
    assert model_ticket(door, "n", 1.0).spell == 9
    asked = door.admit(10.0, "m")
    assert isinstance(asked, AskAuthority)
    assert asked.model == "m"
    assert door.admit(10.0, "m") == Refusal(ASKING_S)
    model_ticket(door, "n", 10.0)
    door.withdrawn(asked, 10.0)
    healed = DoorState(ramp_left_s=POLICY.ramp_s)
    door.adopt(Published(provider="p", spell=10, models={"m": healed}), now=11.0)
    model_ticket(door, "m", 11.0)
    assert 0.0 < door.share(11.0, "m") < door.share(15.0, "m") < door.share(21.0, "m") == 1.0


def test_a_late_result_of_a_door_that_was_forgotten_does_not_count() -> None:
    door = gate()
    late = [model_ticket(door, "m", 0.0) for _ in range(10)]
    for at in range(2 * MOST_DOORS):
        model_ticket(door, f"made-up-{at}", 0.0)
    model_ticket(door, "m", 0.0)
    for one in late:
        door.settle(one, BAD, 0.0)
    model_ticket(door, "m", 0.0)


def test_names_do_not_fill_the_memory() -> None:
    door = gate()
    for at in range(3 * MOST_DOORS):
        fail(door, f"made-up-{at}", 0.0, times=1)
        door.settle(model_ticket(door, "well", 0.0), None, 0.0)
    assert len(door._models) <= MOST_DOORS


def test_a_model_that_is_shut_is_never_forgotten() -> None:
    door = gate()
    limit = Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=60.0, scope="model")
    passed = 0
    for at in range(MOST_DOORS + 20):
        admitted = door.admit(0.0, f"made-up-{at}")
        if isinstance(admitted, Ticket):
            passed += 1
            door.settle(admitted, limit, 0.0)
    assert all(isinstance(door.admit(59.0, f"made-up-{at}"), Refusal) for at in range(MOST_DOORS + 20))
    assert passed == MOST_DOORS + 1, "all that there is no room for share a door"
    assert len(door._models) <= MOST_DOORS + 1
    model_ticket(door, "new", 60.0)


# What an answer names.


@pytest.mark.parametrize(("scope", "shut"), [("model", {"m"}), ("provider", {"m", "n"}), ("", {"m", "n"})])
def test_a_rate_limit_shuts_the_narrowest_thing_that_it_names(scope: Any, shut: set[str]) -> None:
    door = gate()
    limit = Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=7.0, scope=scope)
    assert door.settle(model_ticket(door, "m", 0.0), limit, 0.0).urgent
    assert {model for model in ("m", "n") if isinstance(door.admit(6.9, model), Refusal)} == shut
    for model in ("m", "n"):
        model_ticket(door, model, 7.0)


def test_with_several_keys_a_rate_limit_is_the_keys() -> None:
    door, keys = gate(), [Key("a" * 20), Key("b" * 20)]
    door.keys.hold(keys)
    key = door.keys.pick("m", 0.0)
    assert isinstance(key, str)
    used = replace(model_ticket(door, "m", 0.0), key=key)
    settled = door.settle(used, Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=7.0), 0.0)
    assert settled.failure is not None
    assert (settled.failure.scope, settled.failure.another_key) == ("key", True)
    assert door.retry_in_s(0.0, "m") == 0.0
    other = door.keys.pick("m", 0.0)
    assert isinstance(other, str)
    assert other != key
    last = door.settle(replace(used, key=other), Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=9.0), 0.0)
    assert last.failure is not None
    assert not last.failure.another_key
    assert door.retry_in_s(0.0, "m") == 7.0


def test_an_overload_with_a_wait_blames_the_model_and_is_waited_for() -> None:
    door = gate()
    overloaded = Failure(kind=FailureKind.OVERLOADED, retry_after_s=12.0)
    assert door.settle(model_ticket(door, "m", 0.0), overloaded, 0.0).urgent
    assert door.admit(11.0, "m") == Refusal(1.0)
    model_ticket(door, "n", 0.0)
    fail(door, "m", 12.0, times=4)
    assert door.why(12.0, "m") == "open", "five in a row"


def test_a_view_says_what_was_published_and_what_was_asked_for() -> None:
    door = gate()
    shut = DoorState(open=True, retry_in_s=40.0)
    door.adopt(Published(provider="p", spell=9, throttled_for_s=5.0, models={"m": shut}), now=0.0)
    fail(door, "own", 5.0)
    view = door.view("p", 5.0)
    assert (view.spell, view.throttled_for_s, set(view.models)) == (9, 0.0, {"m"}), "an own trip is this edge's own"
    assert view.models["m"].retry_in_s == 35.0


@settings(max_examples=20, stateful_step_count=40)
class Laws(RuleBasedStateMachine):
    """Of several models at one edge, in any order of events."""

    @initialize(seed=st.integers(0, 9))
    def begin(self, seed: int) -> None:
        self.gate = Gate(POLICY, random.Random(seed))
        self.now = 0.0
        self.spell = 0
        self.waits: dict[str, float] = {}
        self.under_way: list[Ticket] = []
        self.probe: dict[str, float] = {}

    @rule(seconds=st.sampled_from([0.0, 0.1, 5.0, 30.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(model=st.sampled_from(["a", "b", "c"]), answer=st.sampled_from([None, Permit(1, probe=True), Refusal(7.0)]))
    def admit(self, model: str, answer: Permit | Refusal | None) -> None:
        wait_s = self.gate.retry_in_s(self.now, model)
        admitted = self.gate.admit(self.now, model)
        if wait_s > 0.0:
            assert isinstance(admitted, Refusal)
        if isinstance(admitted, AskAuthority):
            assert self.gate.admit(self.now, model) in (Refusal(ASKING_S), Refusal(POLICY.probe_ttl_s))
            admitted = self.gate.granted(admitted, answer, self.now)
        if isinstance(admitted, Ticket):
            assert self.now >= max(self.waits.get(model, 0.0), self.waits.get("", 0.0)), "before its wait was over"
            self.under_way.append(admitted)

    @precondition(lambda self: self.under_way)
    @rule(
        at=st.integers(0, 20),
        failure=st.sampled_from([None, BAD, UNREACHED, limited(), Failure(kind=FailureKind.CANCELLED)]),
        wait_s=st.sampled_from([None, 3.0, 50.0]),
        scope=st.sampled_from(["", "model", "provider"]),
    )
    def settle(self, at: int, failure: Failure | None, wait_s: float | None, scope: Any) -> None:
        ticket = self.under_way.pop(at % len(self.under_way))
        if failure is not None and failure.kind is FailureKind.RATE_LIMITED:
            failure = replace(failure, retry_after_s=wait_s, scope=scope)
            if wait_s is not None:
                name = ticket.model if scope == "model" else ""
                self.waits[name] = max(self.waits.get(name, 0.0), self.now + wait_s)
        self.gate.settle(ticket, failure, self.now)

    @rule(
        model=st.sampled_from(["", "a", "b"]),
        open_for_s=st.sampled_from([None, 0.0, 20.0]),
        throttled_for_s=st.sampled_from([0.0, 10.0]),
    )
    def adopt(self, model: str, open_for_s: float | None, throttled_for_s: float) -> None:
        self.spell += 1
        state = DoorState(open=open_for_s is not None, retry_in_s=open_for_s or 0.0, throttled_for_s=throttled_for_s)
        whole = state if not model else DoorState()
        self.gate.adopt(
            Published(
                provider="p",
                spell=self.spell,
                open=whole.open,
                retry_in_s=whole.retry_in_s,
                throttled_for_s=whole.throttled_for_s,
                models={model: state} if model else {},
            ),
            self.now,
        )

    @invariant()
    def there_is_a_way_back(self) -> None:
        if hasattr(self, "gate"):
            for model in ("a", "b", "c"):
                assert self.gate.retry_in_s(self.now + POLICY.open_max_s, model) == 0.0
                assert 0.0 < self.gate.share(self.now, model) <= 1.0


TestLaws = Laws.TestCase


@pytest.mark.parametrize("scope", ["provider", "model"])
def test_what_comes_back_of_ones_own_wait_makes_it_no_longer_however_late(scope: str) -> None:
    door = gate(1)
    told = door.settle(ticket(door, 0.0), replace(limited(5.0), scope=scope), 0.0)
    assert told.wait_id
    own = DoorState(throttled_for_s=5.0, wait_id=told.wait_id)
    others = DoorState(throttled_for_s=5.0, wait_id=told.wait_id + 1)

    def adopt(state: DoorState, now: float) -> None:
        whole = {"throttled_for_s": state.throttled_for_s, "wait_id": state.wait_id} if scope == "provider" else {}
        models = {"": state} if scope == "model" else {}
        door.adopt(Published(provider="p", spell=1, models=models, **whole), now)

    adopt(own, 3.0)
    assert door.retry_in_s(3.0) == 2.0
    adopt(others, 3.0)
    assert door.retry_in_s(3.0) == 5.0, "somebody else was told later"

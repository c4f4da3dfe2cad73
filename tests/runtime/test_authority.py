"""The last word on one provider and its models: who has to agree, what a restart keeps, who may probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime.authority import LATE_S, MOST_WARDS, Authority
from runtime.breaker import Permit, Refusal
from runtime.feed import AuthorityPolicy, DoorState, Observed, Published
from runtime.keyring import KeyState

POLICY = AuthorityPolicy(open_s=30.0, probe_ttl_s=20.0, failure_rate=0.5, span_s=10.0, min_calls=10, edge_ttl_s=30.0)


def authority(*, now: float = 0.0, spell: int = 0, last: Published | None = None) -> Authority:
    return Authority("p", POLICY, now=now, spell=spell, last=last)


def saw(
    of: Authority,
    *,
    model: str = "m",
    good: int = 0,
    bad: int = 0,
    unreached: int = 0,
    silent: int = 0,
    throttled_for_s: float = 0.0,
    model_throttled_for_s: float = 0.0,
    keys: tuple[KeyState, ...] = (),
) -> Observed:
    """Calls of the spell that the authority has now."""
    return Observed(
        provider="p",
        model=model,
        spell=of.published(0.0).spell,
        good=good,
        bad=bad,
        unreached=unreached,
        silent=silent,
        throttled_for_s=throttled_for_s,
        model_throttled_for_s=model_throttled_for_s,
        keys=keys,
    )


def down(of: Authority, which: str, bad: int) -> Observed:
    """Failures that concern the one model, or the provider."""
    return saw(of, bad=bad, unreached=bad if which == "whole" else 0)


Door = Callable[[Authority, float], DoorState]


def model(of: Authority, now: float) -> DoorState:
    return of.published(now).models.get("m", DoorState())


def whole(of: Authority, now: float) -> DoorState:
    return of.published(now).whole


@pytest.fixture(params=[model, whole])
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


def opened(door: Door, now: float = 0.0) -> Authority:
    one = authority(now=now)
    one.apply("a", [down(one, door.__name__, 10)], now)
    assert door(one, now).open
    return one


def test_the_only_edge_is_believed(door: Door) -> None:
    one = authority()
    assert one.apply("a", [down(one, door.__name__, 9)], 0.0) is False
    assert one.apply("a", [down(one, door.__name__, 1)], 0.5) is True
    state = door(one, 1.0)
    assert state.open
    assert state.retry_in_s == 29.5
    assert state.why == "10 of 10 calls failed in 10 s"


def test_one_edge_with_broken_egress_does_not_shut_a_provider_for_all(door: Door) -> None:
    one = authority()
    one.apply("healthy", [saw(one, good=1)], 0.0)
    one.apply("broken", [down(one, door.__name__, 50)], 0.5)
    assert not door(one, 0.5).open
    assert one.apply("also_broken", [down(one, door.__name__, 1)], 1.0) is True
    assert door(one, 1.0).open


def test_an_edge_that_is_long_silent_need_not_agree() -> None:
    one = authority()
    one.apply("gone", [saw(one, good=1)], 0.0)
    assert one.apply("a", [saw(one, bad=50)], 30.1) is True


def test_probes_of_edges_that_shut_it_by_themselves_add_up_however_long_they_take(door: Door) -> None:
    one = authority()
    for edge in ("a", "b"):
        one.apply(edge, [saw(one, good=200)], 0.0)
    opened_at = []
    for round_ in range(1, 8):
        for edge in ("a", "b"):
            now = 25.0 * round_ + (edge == "b")
            if one.apply(edge, [down(one, door.__name__, 1)], now):
                opened_at.append(now)
    assert door(one, opened_at[0]).open
    assert door(one, opened_at[0]).why == "10 calls failed in a row"
    assert opened_at[0] == 25.0 * 5 + 1


def test_a_success_ends_a_row(door: Door) -> None:
    one = authority()
    for round_ in range(20):
        for edge in ("a", "b"):
            one.apply(edge, [down(one, door.__name__, 1)], 25.0 * round_)
        if round_ % 4 == 3:
            one.apply("a", [saw(one, good=1)], 25.0 * round_ + 1)
    assert not door(one, 500.0).open


def test_one_edges_failures_in_a_row_are_its_own(door: Door) -> None:
    one = authority()
    for round_ in range(20):
        one.apply("quiet", [saw(one, silent=1)], 25.0 * round_)
        one.apply("broken", [down(one, door.__name__, 1)], 25.0 * round_)
    assert not door(one, 500.0).open


def test_half_of_the_calls_must_fail(door: Door) -> None:
    one = authority()
    one.apply("a", [saw(one, good=11, bad=10, unreached=10 if door is whole else 0)], 0.0)
    assert not door(one, 0.0).open


def test_old_failures_do_not_count(door: Door) -> None:
    one = authority()
    one.apply("a", [down(one, door.__name__, 9)], 0.0)
    one.apply("a", [down(one, door.__name__, 9)], 10.5)
    assert not door(one, 10.5).open


def test_calls_of_an_earlier_spell_do_not_count(door: Door) -> None:
    one = authority()
    late = down(one, door.__name__, 10)
    one.apply("a", [late], 0.0)
    before = door(one, 1.0)
    assert one.apply("b", [late], 1.0) is (door is whole and model(one, 1.0).open)
    assert door(one, 1.0) == before


# Which door?


def test_calls_from_before_anybody_heard_of_an_authority_count_while_all_is_well(door: Door) -> None:
    new = authority(spell=1_000_000)
    assert new.apply("edge-1", [replace(down(new, door.__name__, 10), spell=0)], 1.0)
    assert door(new, 1.0).open
    assert not new.apply("edge-1", [replace(saw(new, good=10), spell=0)], 40.0), "no probe was out"
    assert door(new, 40.0).open


def test_one_model_in_trouble_shuts_no_other() -> None:
    one = authority()
    one.apply("a", [saw(one, bad=50)], 0.0)
    state = one.published(0.0)
    assert (state.open, list(state.models)) == (False, ["m"])
    assert isinstance(one.permit(0.0, "n"), Permit)
    assert one.permit(0.0, "m") == Refusal(30.0)


def test_two_models_in_trouble_are_the_providers_trouble() -> None:
    one = authority()
    one.apply("a", [saw(one, bad=6), saw(one, model="n", bad=6)], 0.0)
    assert whole(one, 0.0).open


def test_calls_that_reached_nobody_say_nothing_of_a_model() -> None:
    one = authority()
    one.apply("a", [saw(one, bad=10, unreached=10)], 0.0)
    assert whole(one, 0.0).open
    assert not model(one, 0.0).open


def test_a_second_model_with_a_few_failures_is_not_in_trouble() -> None:
    one = authority()
    one.apply("a", [saw(one, bad=50), saw(one, model="n", good=45, bad=5)], 0.0)
    assert not whole(one, 0.0).open


def test_one_permit_is_for_both_doors() -> None:
    one = authority()
    one.apply("a", [saw(one, bad=6), saw(one, model="n", bad=6)], 0.0)
    one.apply("a", [saw(one, bad=6)], 0.0)
    permit = one.permit(30.0, "m")
    assert isinstance(permit, Permit)
    assert one.permit(30.0, "n") == Refusal(20.0)
    one.apply("a", [saw(one, good=1)], 31.0)
    assert not whole(one, 31.0).open
    assert not model(one, 31.0).open


def test_names_do_not_fill_the_memory() -> None:
    one = authority()
    for at in range(3 * MOST_WARDS):
        one.apply("a", [saw(one, model=f"made-up-{at}", bad=1, good=5)], at / 1_000)
    assert len(one._models) <= MOST_WARDS
    one.apply("a", [saw(one, model="new", bad=20)], 60.0)
    assert one.published(60.0).models["new"].open, "those that have nothing to say make room"


# Probes.


def test_probes_go_out_one_at_a_time(door: Door) -> None:
    one = opened(door)
    assert one.permit(29.0, "m") == Refusal(1.0)
    assert isinstance(one.permit(30.0, "m"), Permit)
    assert one.permit(31.0, "m") == Refusal(19.0)
    assert door(one, 31.0).retry_in_s == 19.0


def test_a_lost_probe_is_replaced(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    assert isinstance(one.permit(50.0, "m"), Permit)


def test_a_good_probe_closes_it_and_forgets_why(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    assert one.apply("a", [saw(one, good=1)], 31.0) is True
    state = door(one, 31.0)
    assert (state.open, state.why) == (False, "")
    one.apply("a", [down(one, door.__name__, 9)], 31.0)
    assert not door(one, 31.0).open, "what led to the first opening counted again"


def test_a_bad_probe_opens_it_again_for_longer(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    assert one.apply("a", [down(one, door.__name__, 1)], 32.0) is True
    assert door(one, 32.0).retry_in_s == 60.0


def test_a_probe_that_was_cancelled_leaves_the_door_to_the_next(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    assert one.apply("a", [saw(one, silent=1)], 31.0) is True
    assert isinstance(one.permit(31.0, "m"), Permit)


def test_a_probe_succeeds_at_its_first_content(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    one.apply("a", [saw(one, good=1, bad=1)], 31.0)
    assert not door(one, 31.0).open


def test_a_good_call_closes_nothing_while_no_probe_is_out(door: Door) -> None:
    one = opened(door)
    assert one.apply("a", [saw(one, good=5)], 1.0) is False
    state = door(one, 1.0)
    assert state.open
    assert state.why


# Throttling.


def test_a_throttle_is_for_everyone() -> None:
    one = authority()
    assert one.apply("a", [saw(one, silent=1, throttled_for_s=8.0)], 0.0) is True
    assert one.published(3.0).throttled_for_s == 5.0
    assert one.apply("b", [saw(one, silent=1, throttled_for_s=1.0)], 3.0) is False
    assert not one.published(3.0).open


def test_a_model_may_be_throttled_alone() -> None:
    one = authority()
    assert one.apply("a", [saw(one, silent=1, model_throttled_for_s=8.0)], 0.0) is True
    state = one.published(3.0)
    assert (state.throttled_for_s, state.models["m"].throttled_for_s) == (0.0, 5.0)
    assert one.published(8.0).models == {}


def test_no_probe_goes_out_while_the_provider_asked_to_wait(door: Door) -> None:
    one = opened(door)
    one.apply("a", [saw(one, throttled_for_s=90.0)], 0.0)
    assert one.permit(30.0, "m") == Refusal(60.0)


# Keys.


def disabled(key: str = "k1", **said: object) -> KeyState:
    return KeyState(key=key, why="disabled", retry_in_s=600.0, **said)  # type: ignore[arg-type]


def test_a_key_that_one_edge_saw_refused_is_published() -> None:
    one = authority()
    assert one.apply("a", [saw(one, silent=1, keys=(disabled(),))], 0.0) is True
    (state,) = one.published(100.0).keys
    assert (state.key, state.why, state.retry_in_s) == ("k1", "disabled", 500.0)
    assert one.published(600.0).keys == ()


def test_a_key_is_healed_by_a_free_call_or_by_an_edge_that_used_it() -> None:
    one = authority()
    one.apply("a", [saw(one, keys=(disabled("k1"), disabled("k2"), disabled("k3", model="m")))], 0.0)
    assert set(one.disabled_keys(1.0)) == {"k1", "k2"}, "a free call says nothing of a model"
    assert one.key_works("k1") is True
    assert one.key_works("k1") is False
    assert one.apply("a", [saw(one, keys=(KeyState(key="k2"),))], 1.0) is True
    assert [state.key for state in one.published(1.0).keys] == ["k3"]


# Free calls.


def test_a_provider_that_is_called_needs_no_free_call() -> None:
    one = authority()
    assert not one.wants_free_call(29.0)
    one.apply("a", [saw(one, good=1)], 29.0)
    assert not one.wants_free_call(58.0)
    assert one.wants_free_call(59.0)
    one.follow(AuthorityPolicy(health_every_s=0.0))
    assert not one.wants_free_call(1e6)


def test_what_a_free_call_shuts_a_free_call_opens() -> None:
    one = authority()
    assert one.free_call(40.0, reached=False, why="nobody there") is True
    assert whole(one, 40.0) == DoorState(open=True, retry_in_s=30.0, why="nobody there")
    assert one.wants_free_call(41.0)
    assert one.free_call(42.0, reached=True) is True
    assert not whole(one, 42.0).open


def test_what_traffic_shuts_only_traffic_opens(door: Door) -> None:
    one = opened(door)
    one.free_call(100.0, reached=True)
    assert door(one, 100.0).open
    shut = authority()
    shut.free_call(40.0, reached=False)
    shut.permit(70.0)
    shut.apply("a", [saw(shut, bad=1)], 71.0)
    shut.free_call(72.0, reached=True)
    assert whole(shut, 72.0).open, "traffic has shut it since"


def test_a_free_call_does_not_shut_what_is_in_use() -> None:
    one = authority()
    one.apply("a", [saw(one, good=1)], 40.0)
    assert one.free_call(41.0, reached=False) is False


# Operators and restarts.


def test_an_operator_opens_and_closes_it() -> None:
    one = authority()
    one.trip(0.0, for_s=100.0)
    assert one.published(0.0).why == "opened by an operator"
    assert one.published(0.0).retry_in_s == 100.0
    one.close()
    assert not one.published(0.0).open


def test_what_has_healed_gets_its_traffic_back_by_and_by_but_what_an_operator_opened_at_once(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    one.apply("a", [saw(one, good=1)], 31.0)
    assert door(one, 35.0).ramp_left_s == 6.0
    assert door(one, 41.0) == DoorState()
    one = opened(door)
    one.close()
    assert door(one, 1.0) == DoorState()


def test_an_operator_closes_models_too(door: Door) -> None:
    one = opened(door)
    late = down(one, door.__name__, 20)
    one.close()
    one.apply("a", [late], 1.0)
    assert not door(one, 1.0).open, "late results from before count as new ones"


def test_a_restart_adopts_what_was_published_last(door: Door) -> None:
    one = opened(door)
    last = one.published(10.0)
    again = authority(now=5_000.0, last=last)
    assert door(again, 5_000.0).retry_in_s == door(one, 10.0).retry_in_s == 20.0
    assert door(again, 5_000.0).why == door(one, 10.0).why
    assert again.published(5_000.0).spell > last.spell


def test_a_restart_grants_no_second_probe_before_its_time(door: Door) -> None:
    one = opened(door)
    one.permit(30.0, "m")
    again = authority(now=0.0, last=one.published(35.0))
    assert again.permit(14.5, "m") == Refusal(0.5)
    assert isinstance(again.permit(15.0, "m"), Permit)


def test_a_restart_breaks_no_retry_after() -> None:
    one = authority()
    one.apply("a", [saw(one, throttled_for_s=60.0), saw(one, model="n", model_throttled_for_s=50.0)], 0.0)
    one.apply("a", [saw(one, keys=(disabled(),))], 0.0)
    again = authority(now=900.0, last=one.published(20.0))
    state = again.published(900.0)
    assert (state.throttled_for_s, state.models["n"].throttled_for_s) == (40.0, 30.0)
    assert [key.retry_in_s for key in state.keys] == [580.0]


def test_a_restart_ignores_reports_of_its_earlier_life() -> None:
    one = authority(spell=1_000_000)
    old = saw(one, bad=50)
    again = authority(spell=2_000_000)
    assert again.apply("a", [old], 0.0) is False
    assert not again.published(0.0).open


def test_an_edge_that_is_late_is_still_believed(door: Door) -> None:
    one = opened(door)
    again = authority(now=100.0, spell=1_000)
    assert again.remember(one.published(10.0), 105.0) is True
    assert door(again, 105.0).retry_in_s == 20.0
    assert again.remember(again.published(105.0), 105.0) is False, "an edge says what it heard from this life"
    too_late = authority(now=100.0, spell=1_000)
    assert too_late.remember(one.published(10.0), 100.1 + LATE_S) is False

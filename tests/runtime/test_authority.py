"""The last word on one provider: who has to agree, what a restart keeps, who may probe."""

from __future__ import annotations

from runtime.authority import Authority
from runtime.breaker import Permit, Refusal
from runtime.feed import AuthorityPolicy, Observed, Published

POLICY = AuthorityPolicy(open_s=30.0, probe_ttl_s=20.0, failure_rate=0.5, span_s=10.0, min_calls=10, edge_ttl_s=30.0)


def authority(*, now: float = 0.0, spell: int = 0, last: Published | None = None) -> Authority:
    return Authority("p", POLICY, now=now, spell=spell, last=last)


def saw(of: Authority, *, good: int = 0, bad: int = 0, silent: int = 0, throttled_for_s: float = 0.0) -> Observed:
    """Calls of the spell that the authority has now."""
    return Observed(
        provider="p",
        model="m",
        spell=of.published(0.0).spell,
        good=good,
        bad=bad,
        silent=silent,
        throttled_for_s=throttled_for_s,
    )


def opened(now: float = 0.0) -> Authority:
    one = authority(now=now)
    one.apply("a", [saw(one, bad=10)], now)
    assert one.published(now).open
    return one


def test_the_only_edge_is_believed() -> None:
    one = authority()
    assert one.apply("a", [saw(one, bad=9)], 0.0) is False
    assert one.apply("a", [saw(one, bad=1)], 0.5) is True
    state = one.published(1.0)
    assert state.open
    assert state.retry_in_s == 29.5
    assert state.why == "10 of 10 calls failed in 10 s"


def test_one_edge_with_broken_egress_does_not_shut_a_provider_for_all() -> None:
    one = authority()
    one.apply("healthy", [saw(one, good=1)], 0.0)
    one.apply("broken", [saw(one, bad=50)], 0.5)
    assert not one.published(0.5).open
    assert one.apply("also_broken", [saw(one, bad=1)], 1.0) is True


def test_an_edge_that_is_long_silent_need_not_agree() -> None:
    one = authority()
    one.apply("gone", [saw(one, good=1)], 0.0)
    assert one.apply("a", [saw(one, bad=50)], 30.1) is True


def test_half_of_the_calls_must_fail() -> None:
    one = authority()
    one.apply("a", [saw(one, good=11, bad=10)], 0.0)
    assert not one.published(0.0).open


def test_old_failures_do_not_count() -> None:
    one = authority()
    one.apply("a", [saw(one, bad=9)], 0.0)
    one.apply("a", [saw(one, bad=9)], 10.5)
    assert not one.published(10.5).open


def test_calls_of_an_earlier_spell_do_not_count() -> None:
    one = authority()
    late = saw(one, bad=10)
    one.apply("a", [late], 0.0)
    before = one.published(1.0)
    assert one.apply("b", [late], 1.0) is False
    assert one.published(1.0) == before


# Probes.


def test_probes_go_out_one_at_a_time() -> None:
    one = opened()
    assert one.permit(29.0) == Refusal(1.0)
    assert isinstance(one.permit(30.0), Permit)
    assert one.permit(31.0) == Refusal(19.0)
    assert one.published(31.0).retry_in_s == 19.0


def test_a_lost_probe_is_replaced() -> None:
    one = opened()
    one.permit(30.0)
    assert isinstance(one.permit(50.0), Permit)


def test_a_good_probe_closes_it_and_forgets_why() -> None:
    one = opened()
    one.permit(30.0)
    assert one.apply("a", [saw(one, good=1)], 31.0) is True
    state = one.published(31.0)
    assert (state.open, state.why) == (False, "")
    one.apply("a", [saw(one, bad=9)], 31.0)
    assert not one.published(31.0).open, "what led to the first opening counted again"


def test_a_bad_probe_opens_it_again() -> None:
    one = opened()
    one.permit(30.0)
    assert one.apply("a", [saw(one, bad=1)], 32.0) is True
    assert one.published(32.0).retry_in_s == 30.0


def test_a_probe_that_was_cancelled_leaves_the_door_to_the_next() -> None:
    one = opened()
    one.permit(30.0)
    assert one.apply("a", [saw(one, silent=1)], 31.0) is True
    assert isinstance(one.permit(31.0), Permit)


def test_a_probe_succeeds_at_its_first_content() -> None:
    one = opened()
    one.permit(30.0)
    one.apply("a", [saw(one, good=1, bad=1)], 31.0)
    assert not one.published(31.0).open


def test_a_good_call_closes_nothing_while_no_probe_is_out() -> None:
    one = opened()
    assert one.apply("a", [saw(one, good=5)], 1.0) is False
    state = one.published(1.0)
    assert state.open
    assert state.why


# Throttling.


def test_a_throttle_is_for_everyone() -> None:
    one = authority()
    assert one.apply("a", [saw(one, silent=1, throttled_for_s=8.0)], 0.0) is True
    assert one.published(3.0).throttled_for_s == 5.0
    assert one.apply("b", [saw(one, silent=1, throttled_for_s=1.0)], 3.0) is False
    assert not one.published(3.0).open


def test_no_probe_goes_out_while_the_provider_asked_to_wait() -> None:
    one = opened()
    one.apply("a", [saw(one, throttled_for_s=90.0)], 0.0)
    assert one.permit(30.0) == Refusal(60.0)


# Operators and restarts.


def test_an_operator_opens_and_closes_it() -> None:
    one = authority()
    one.trip(0.0, for_s=100.0)
    assert one.published(0.0).why == "opened by an operator"
    assert one.published(0.0).retry_in_s == 100.0
    one.close()
    assert not one.published(0.0).open


def test_a_restart_adopts_what_was_published_last() -> None:
    last = opened().published(10.0)
    again = authority(now=5_000.0, last=last)
    assert again.published(5_000.0).retry_in_s == last.retry_in_s == 20.0
    assert again.published(5_000.0).why == last.why
    assert again.published(5_000.0).spell > last.spell


def test_a_restart_grants_no_second_probe_before_its_time() -> None:
    one = opened()
    one.permit(30.0)
    again = authority(now=0.0, last=one.published(35.0))
    assert again.permit(14.5) == Refusal(0.5)
    assert isinstance(again.permit(15.0), Permit)


def test_a_restart_breaks_no_retry_after() -> None:
    one = authority()
    one.apply("a", [saw(one, throttled_for_s=60.0)], 0.0)
    again = authority(now=900.0, last=one.published(20.0))
    assert again.published(900.0).throttled_for_s == 40.0


def test_a_restart_ignores_reports_of_its_earlier_life() -> None:
    one = authority(spell=1_000_000)
    old = saw(one, bad=50)
    again = authority(spell=2_000_000)
    assert again.apply("a", [old], 0.0) is False
    assert not again.published(0.0).open

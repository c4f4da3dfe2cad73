"""What all edges together know, and what an edge says of itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.balance.pace import Timings
from runtime.feed import MOST_SUMS, OTHER, DoorState, EdgeReport, Observations, Observed, Published
from runtime.keyring import KeyState
from runtime.outcome import Completion, Cost, Failure, FailureKind, Usage
from runtime.reports import ModelUsage
from runtime.usage import UsageBook
from runtime.view import EDGE_TTL_S, SharedView, Told, Waking, by_model, strictest
from tests.fakes.clock import FakeClock


def report(edge: str, sequence: int, *, latency_s: float = 1.0, answered: int = 1, in_flight: int = 0) -> EdgeReport:
    return EdgeReport(
        edge=edge,
        sequence=sequence,
        observed=(
            Observed(
                provider="p",
                model="m",
                spell=0,
                good=answered,
                answered=answered,
                latency_sum_s=latency_s * answered,
            ),
        ),
        in_flight={"p": in_flight},
    )


def test_a_repeated_report_counts_once() -> None:
    view = SharedView()
    assert view.apply(report("a", 1, latency_s=1.0), 0.0) is True
    assert view.apply(report("a", 1, latency_s=99.0), 20.0) is False
    assert [one.latency_s for one in view.measured(20.0)] == [1.0]


def test_a_report_that_was_overtaken_does_not_count() -> None:
    view = SharedView()
    view.apply(report("a", 2, in_flight=2), 0.0)
    assert view.apply(report("a", 1, in_flight=1), 0.0) is False
    assert view.in_flight("p") == 2


def test_edges_number_their_reports_by_themselves() -> None:
    view = SharedView()
    assert view.apply(report("a", 5), 0.0)
    assert view.apply(report("b", 1), 0.0)


def test_latencies_of_all_edges_are_one_mean() -> None:
    view = SharedView()
    view.apply(report("a", 1, latency_s=1.0, answered=10), 0.0)
    view.apply(report("b", 1, latency_s=3.0), 10.0)
    (one,) = view.measured(10.0)
    assert one.latency_s == pytest.approx(1.0 * 0.368 + 3.0 * 0.632, abs=0.01)
    assert by_model(view.measured(10.0)) == {"p": {"m": one}}


def test_an_edge_is_told_what_it_has_not_heard_yet() -> None:
    view, told = SharedView(), Told()
    for version, model in enumerate(("a", "b", "a"), start=1):
        batch = Observed(provider="p", model=model, spell=0, good=1, answered=1, latency_sum_s=1.0)
        view.apply(EdgeReport(edge="e", sequence=version, observed=(batch,)), float(version))
        assert view.news == {("p", model)}
        told.tell(view.measured(float(version), view.take_news()), version)
        assert not view.news
    assert [list(told.since(version)) for version in (-1, 1, 2, 3)] == [
        [("p", "a"), ("p", "b")],
        [("p", "a"), ("p", "b")],
        [("p", "a")],
        [],
    ]
    assert [one.model for one in view.measured(3.0, told.since(2))] == ["a"]
    assert told.last("p", "c") is None


def test_failures_alone_are_no_speed() -> None:
    view = SharedView()
    view.apply(report("a", 1, answered=0), 0.0)
    assert view.measured(0.0) == ()
    failed = Observed(provider="p", model="m", spell=0, bad=1, pace=Timings(failed=1))
    view.apply(EdgeReport(edge="a", sequence=2, observed=(failed,)), 1.0)
    (one,) = view.measured(3.0)
    assert (one.latency_s, one.ttft_s, one.failed, one.heard_ago_s) == (None, None, 1.0, 2.0)


def test_an_edge_that_is_gone_has_nothing_in_flight() -> None:
    view = SharedView()
    view.apply(report("dead", 1, in_flight=5), 0.0)
    view.apply(report("a", 1, in_flight=2), 1.0)
    assert view.in_flight("p") == 7
    view.hear("a", EDGE_TTL_S + 0.5)
    assert view.in_flight("p") == 2
    assert set(view.edges(EDGE_TTL_S + 0.5)) == {"a"}


def test_an_idle_edge_lives_while_it_polls() -> None:
    view = SharedView()
    view.apply(report("a", 1), 0.0)
    for at in range(0, 300, 10):
        view.hear("a", at)
    assert view.edges(300.0)["a"] is not None


# What an edge sums up.


def answered(**said: object) -> Completion:
    return Completion(id="1", model="m", usage=Usage(input_tokens=3, output_tokens=5), **said)  # type: ignore[arg-type]


def test_observations_add_up_until_they_are_taken() -> None:
    seen = Observations(FakeClock())
    cost = Cost(input_nanousd=1, output_nanousd=2, total_nanousd=3)
    for outcome in (
        answered(cost=cost),
        answered(),
        Failure(kind=FailureKind.UNAVAILABLE),
        Failure(kind=FailureKind.BAD_REQUEST),
        Failure(kind=FailureKind.CANCELLED),
        Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=4.0),
    ):
        seen.add("p", "m", outcome, spell=3, latency_s=0.5)
    (one,) = seen.take()
    assert (one.good, one.bad, one.silent, one.answered, one.spell) == (3, 1, 2, 2, 3)
    assert (one.cost_nanousd, one.unpriced, one.latency_sum_s, one.throttled_for_s) == (3, 1, 1.0, 4.0)
    usage = one.usage()
    assert (usage.requests, usage.answered, usage.errors) == (6, 2, 3)
    assert not seen
    assert seen.take() == ()


def test_the_parts_of_a_cost_reach_the_usage_book() -> None:
    seen = Observations(FakeClock())
    cost = Cost(
        input_nanousd=60,
        cached_input_nanousd=10,
        cache_write_nanousd=20,
        output_nanousd=30,
        reasoning_nanousd=5,
        per_call_nanousd=7,
        total_nanousd=97,
    )
    for _ in range(2):
        seen.add("p", "m", answered(cost=cost), spell=1, latency_s=0.1)
    (one,) = seen.take()
    usage = one.usage()
    assert usage.cost_nanousd == 2 * cost.total_nanousd
    assert (usage.cached_input_cost_nanousd, usage.cache_write_cost_nanousd) == (20, 40)
    assert (usage.reasoning_cost_nanousd, usage.per_call_cost_nanousd) == (10, 14)
    book = UsageBook()
    book.add("p", "m", answered(cost=cost), latency_s=0.1, at_s=0.0)
    alone = book.report("all", 1.0).total
    assert [2 * getattr(alone, name) for name in vars_of(alone)] == [getattr(usage, name) for name in vars_of(alone)]


def vars_of(usage: ModelUsage) -> list[str]:
    return [column.name for column in fields(usage) if column.name.endswith("_nanousd")]


def test_calls_of_different_spells_are_kept_apart() -> None:
    seen = Observations(FakeClock())
    seen.add("p", "m", answered(), spell=1, latency_s=0.1)
    seen.add("p", "m", answered(), spell=2, latency_s=0.1)
    assert [one.spell for one in seen.take()] == [1, 2]


def test_names_from_callers_do_not_fill_the_memory() -> None:
    seen = Observations(FakeClock())
    for at in range(3 * MOST_SUMS):
        seen.add("p", f"made-up-{at}", Failure(kind=FailureKind.MODEL_NOT_FOUND), spell=0, latency_s=0.1)
    taken = seen.take()
    assert len(taken) == MOST_SUMS + 1
    assert sum(one.good for one in taken) == 3 * MOST_SUMS
    assert taken[-1].model == OTHER


def test_a_published_state_ages() -> None:
    state = Published(provider="p", open=True, retry_in_s=10.0, throttled_for_s=2.0).aged(4.0)
    assert (state.retry_in_s, state.throttled_for_s, state.open) == (6.0, 0.0, True)


def test_what_a_failure_speaks_of_decides_what_its_wait_shuts() -> None:
    seen = Observations(FakeClock())
    for failure in (
        Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=4.0, scope="provider"),
        Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=5.0, scope="model"),
        Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=6.0, scope="key"),
        Failure(kind=FailureKind.OVERLOADED, retry_after_s=7.0, scope="model"),
        Failure(kind=FailureKind.UNAVAILABLE, scope="provider"),
        # Not the provider's word: it says of itself when another key is worth trying.
        Failure(kind=FailureKind.QUOTA_EXHAUSTED, retry_after_s=8.0),
    ):
        seen.add("p", "m", failure, spell=3, latency_s=0.5)
    (one,) = seen.take()
    assert (one.throttled_for_s, one.model_throttled_for_s, one.bad, one.unreached) == (4.0, 7.0, 2, 1)


def test_a_wait_is_over_in_time_also_when_it_is_told_late() -> None:
    clock = FakeClock()
    seen = Observations(clock)
    throttled = KeyState(key="k", why="throttled", retry_in_s=5.0)
    for scope in ("provider", "model"):
        failure = Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=4.0, scope=scope)
        seen.add("p", "m", failure, spell=3, latency_s=0.5, keys=(throttled,))
    clock.advance(1.0)
    (one,) = seen.take()
    assert (one.throttled_for_s, one.model_throttled_for_s, one.keys[0].retry_in_s) == (3.0, 3.0, 4.0)
    later = EdgeReport(edge="e", sequence=1, observed=(one,), shut={"p": 2.0, "q": 9.0}).aged(3.0)
    assert (later.observed[0].throttled_for_s, later.shut) == (0.0, {"q": 6.0})
    assert later.observed[0].keys[0].retry_in_s == 1.0
    assert later.aged(1.0).observed[0].waits is None


def test_a_probe_that_was_not_used_is_no_request() -> None:
    seen = Observations(FakeClock())
    seen.probe_unused("p", "m", spell=3)
    (one,) = seen.take()
    assert (one.silent, one.usage().requests) == (1, 0)


def test_of_each_key_the_newest_state_is_told() -> None:
    seen = Observations(FakeClock())
    refused, well = KeyState(key="k", why="disabled", retry_in_s=9.0), KeyState(key="k")
    seen.add("p", "m", Failure(kind=FailureKind.UNAUTHENTICATED), spell=3, latency_s=0.5, keys=(refused,))
    seen.probe_succeeded("p", "m", spell=3, keys=(well,))
    assert seen.take()[0].keys == (well,)


def test_a_published_state_ages_in_all_its_parts() -> None:
    models = {"gone": DoorState(throttled_for_s=3.0), "open": DoorState(open=True, retry_in_s=9.0)}
    keys = (KeyState(key="k", why="throttled", retry_in_s=3.0), KeyState(key="l", why="disabled", retry_in_s=9.0))
    state = Published(provider="p", ramp_left_s=5.0, models=models, keys=keys).aged(4.0)
    assert (state.ramp_left_s, list(state.models), state.models["open"].retry_in_s) == (1.0, ["open"], 5.0)
    assert [(key.key, key.retry_in_s) for key in state.keys] == [("l", 5.0)]


# What edges shut by themselves.


def shutting(edge: str, sequence: int, **shut: float) -> EdgeReport:
    return EdgeReport(edge=edge, sequence=sequence, shut={name.replace("__", "/"): s for name, s in shut.items()})


def test_a_model_is_shut_where_all_edges_that_call_it_say_so() -> None:
    view = SharedView()
    view.apply(shutting("a", 1, p__m=30.0), 0.0)
    assert view.shut_models("p", 1.0) == {"m": 29.0}
    assert view.shut_for_s("p", 1.0) == 0.0
    view.apply(report("b", 1), 2.0)
    assert view.shut_models("p", 2.0) == {}


def test_names_of_models_that_are_well_are_not_kept() -> None:
    view = SharedView()
    for at in range(1_000):
        view.apply(shutting("a", at + 1, **{f"p__{at}": 0.001}), float(at))
    assert len(view._shut_until) <= 2


# A manager that has just started.


def shut_view(retry_in_s: float, *, spell: int = 7, throttled_for_s: float = 0.0, **said: Any) -> Published:
    return Published(
        provider="p", spell=spell, open=retry_in_s > 0, retry_in_s=retry_in_s, throttled_for_s=throttled_for_s, **said
    )


def test_it_waits_for_all_edges_that_poll_but_not_for_ever() -> None:
    waking = Waking(100.0)
    waking.heard("a", 100.1)
    waking.heard("b", 100.1)
    waking.told("a", (), 100.2)
    assert not waking.is_over(101.0)
    waking.told("b", (), 101.0)
    assert waking.is_over(101.0)
    silent = Waking(100.0)
    silent.heard("a", 100.1)
    assert not silent.is_over(101.9)
    assert silent.is_over(102.0)


def test_one_early_edge_is_not_all() -> None:
    waking = Waking(100.0)
    waking.heard("a", 100.0)
    waking.told("a", (), 100.0)
    assert not waking.is_over(100.4)
    assert waking.is_over(100.5)


def test_the_strictest_of_all_views_counts() -> None:
    waking = Waking(0.0)
    waking.told("a", (shut_view(0.0, throttled_for_s=9.0, models={"m": DoorState(open=True, retry_in_s=5.0)}),), 0.0)
    key = KeyState(key="k", why="disabled", retry_in_s=60.0)
    waking.told("b", (shut_view(20.0, spell=8, models={"m": DoorState(throttled_for_s=3.0)}, keys=(key,)),), 1.0)
    known = waking.known_of("p", 2.0)
    assert known is not None
    assert (known.spell, known.open, known.retry_in_s, known.throttled_for_s) == (8, True, 19.0, 7.0)
    assert known.models["m"] == DoorState(open=True, retry_in_s=3.0, throttled_for_s=2.0)
    assert [one.retry_in_s for one in known.keys] == [59.0]
    assert waking.known_of("q", 2.0) is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=6))
def test_no_view_is_stricter_than_the_strictest(waits: list[tuple[float, float]]) -> None:
    views = [
        shut_view(open_s, throttled_for_s=wait_s, models={"m": DoorState(throttled_for_s=wait_s)})
        for open_s, wait_s in waits
    ]
    one = strictest(views)
    assert one.retry_in_s == max(view.retry_in_s for view in views)
    assert one.throttled_for_s == max(view.throttled_for_s for view in views) == one.models["m"].throttled_for_s
    assert one.open == any(view.open for view in views)

"""What one process knows of a provider: everybody's measurements, its own calls, and how old either is."""

from __future__ import annotations

import random

import pytest

from runtime.balance.pace import Timings
from runtime.breaker import BreakerPolicy
from runtime.feed import EdgeReport, Measured, Observed
from runtime.gate import Gate
from runtime.standing import Standing
from runtime.view import SharedView, by_model, is_news

FAST = Measured(
    provider="p",
    model="m",
    latency_s=0.4,
    ttft_s=0.1,
    per_token_s=0.01,
    usual_load=3.0,
    output_tokens=30.0,
    heard_ago_s=0.2,
)


def standing() -> Standing:
    return Standing(Gate(BreakerPolicy(), random.Random(1)))


def answer(ttft_s: float) -> Timings:
    return Timings(begun=1, ttft_s=ttft_s, answered=1, tokens=10, paced=10, token_s=0.1)


def test_a_replica_goes_by_what_everybody_measured_and_by_its_own_calls_in_flight() -> None:
    ours = standing()
    ours.measure("m", answer(9.0), 10.0)
    ours.learn({"m": FAST}, 4, 10.0)
    ours.load.begin()
    vitals = ours.vitals("m", 10.5)
    assert (vitals.ttft_s, vitals.per_token_s, vitals.usual_load, vitals.output_tokens) == (0.1, 0.01, 3.0, 30.0)
    assert (vitals.in_flight, vitals.others_in_flight) == (1, 4)
    assert vitals.measured_ago_s == pytest.approx(0.5), "we heard from it later than all others"


def test_before_the_first_snapshot_it_goes_by_its_own() -> None:
    ours = standing()
    assert ours.vitals("m", 0.0).ttft_s is None
    ours.measure("m", answer(2.0), 1.0)
    assert ours.vitals("m", 1.0).ttft_s == 2.0
    assert ours.vitals("other", 1.0).ttft_s is None


def test_once_its_reports_reach_nobody_it_goes_by_its_own_again() -> None:
    ours = standing()
    ours.learn({"m": FAST}, 4, 0.0)
    ours.measure("m", answer(2.0), 3.0)
    assert ours.vitals("m", 3.0).ttft_s == 0.1
    ours.measure("m", answer(2.0), 20.0)
    assert ours.vitals("m", 20.0).ttft_s == pytest.approx(2.0)


def test_calls_that_others_reported_are_forgotten_as_the_report_grows_old() -> None:
    ours = standing()
    ours.learn({}, 30, 0.0, every_s=1.0)
    assert [ours.others(now) for now in (0.0, 2.0, 3.5, 5.0, 60.0)] == [30, 30, 15, 0, 0]
    assert ours.beside(2.0) == 29
    ours.learn({}, 30, 0.0, every_s=10.0)
    assert ours.others(20.0) == 30


def test_failures_that_nobody_was_told_yet_count_at_once() -> None:
    ours = standing()
    ours.learn({"m": FAST}, 0, 0.0)
    ours.measure("m", Timings(failed=1), 0.3)
    assert ours.vitals("m", 0.4).failed == 1.0
    # By now we have reported them, and everybody together says that all is well.
    ours.learn({"m": FAST}, 0, 3.0)
    assert ours.vitals("m", 3.0).failed == 0.0


def test_what_is_not_told_again_stands_and_ages() -> None:
    ours = standing()
    ours.learn({"m": FAST}, 0, 0.0)
    ours.learn({"other": FAST}, 0, 2.0)
    assert ours.vitals("m", 3.0).ttft_s == FAST.ttft_s
    ages = [ours.vitals(model, 3.0).measured_ago_s for model in ("m", "other")]
    assert ages == [pytest.approx((FAST.heard_ago_s or 0.0) + age) for age in (3.0, 1.0)]


def test_the_oldest_silent_stream_of_a_model_is_what_it_owes() -> None:
    ours = standing()
    ours.asks("m", "first", 1.0)
    ours.asks("m", "second", 4.0)
    ours.asks("other", "third", 0.0)
    assert ours.vitals("m", 5.0).silent_s == 4.0
    ours.hears("m", "first")
    ours.hears("m", "first")
    assert ours.vitals("m", 5.0).silent_s == 1.0
    ours.hears("m", "second")
    assert ours.vitals("m", 5.0).silent_s == 0.0


# The manager's half.


def report(edge: str, sequence: int, in_flight: int = 0, **said: object) -> EdgeReport:
    observed = (Observed(provider="p", model="m", spell=0, **said),)  # type: ignore[arg-type]
    return EdgeReport(edge=edge, sequence=sequence, observed=observed, in_flight={"p": in_flight})


def test_all_edges_measurements_are_one() -> None:
    view = SharedView()
    view.apply(report("a", 1, pace=answer(1.0)), 0.0)
    view.apply(report("b", 1, pace=answer(2.0)), 1.0)
    one = by_model(view.measured(3.0))["p"]["m"]
    assert one.ttft_s is not None
    assert 1.0 < one.ttft_s < 2.0
    assert (one.per_token_s, one.output_tokens, one.heard_ago_s) == (pytest.approx(0.01), pytest.approx(10.0), 2.0)


def test_an_edge_that_tells_only_whole_answers_is_understood() -> None:
    """A report of an older version, or of anybody who has no more to say."""
    view = SharedView()
    view.apply(report("old", 1, good=3, answered=3, latency_sum_s=6.0), 0.0)
    assert by_model(view.measured(0.0))["p"]["m"].ttft_s == 2.0
    view.apply(report("old", 2, bad=1, failures={"timed_out": 1}), 1.0)
    assert by_model(view.measured(1.0))["p"]["m"].failed > 0.0


def test_an_edge_hears_of_the_others_calls_and_not_of_its_own() -> None:
    view = SharedView()
    view.apply(report("a", 1, in_flight=5), 0.0)
    view.apply(report("b", 1, in_flight=2), 0.0)
    assert view.counted(0.0, every_s=1.0).others("a") == {"p": 2}
    assert view.counted(0.0, every_s=1.0).others("c") == {"p": 7}
    # Whoever has calls under way says so with each report; who says nothing more has died with them.
    view.apply(report("b", 2, in_flight=2), 5.0)
    assert view.counted(5.0, every_s=1.0).others("c") == {"p": 2}


def test_calls_through_an_actor_are_counted_once() -> None:
    """The actor tells of all that it carries, and each caller of its own."""
    view = SharedView()
    view.apply(EdgeReport(edge="actor", sequence=1, in_flight={"p": 5}, relays=True), 0.0)
    view.apply(EdgeReport(edge="a", sequence=1, through_actors={"p": 3}), 0.0)
    view.apply(EdgeReport(edge="b", sequence=1, through_actors={"p": 2}), 0.0)
    assert view.counted(0.0, every_s=1.0).others("a") == {"p": 2}
    assert view.counted(0.0, every_s=1.0).others("b") == {"p": 3}
    assert view.in_flight("p") == 5


def test_names_do_not_fill_the_memory() -> None:
    from runtime.view import MOST_MEASURED

    view = SharedView()
    for at in range(MOST_MEASURED + 10):
        one = Observed(provider="p", model=f"m{at}", spell=0, answered=1, latency_sum_s=1.0)
        view.apply(EdgeReport(edge="a", sequence=at + 1, observed=(one,)), float(at))
    known = by_model(view.measured(2_000.0))["p"]
    assert len(known) == MOST_MEASURED
    assert "m0" not in known
    assert f"m{MOST_MEASURED + 9}" in known


def test_what_would_change_no_choice_is_no_news() -> None:
    from dataclasses import replace

    assert is_news(None, FAST)
    assert not is_news(FAST, replace(FAST, ttft_s=0.105, heard_ago_s=9.0))
    assert is_news(FAST, replace(FAST, ttft_s=0.2))
    assert is_news(FAST, replace(FAST, failed=0.5))

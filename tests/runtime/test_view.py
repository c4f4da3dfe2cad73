"""What all edges together know, and what an edge says of itself."""

from __future__ import annotations

import pytest

from runtime.feed import MOST_SUMS, OTHER, EdgeReport, Measured, Observations, Observed, Published
from runtime.outcome import Completion, Cost, Failure, FailureKind, Usage
from runtime.view import EDGE_TTL_S, SharedView, latencies


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
    assert view.measured() == (Measured(provider="p", model="m", latency_s=1.0),)


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
    (one,) = view.measured()
    assert one.latency_s == pytest.approx(1.0 * 0.368 + 3.0 * 0.632, abs=0.01)
    assert latencies(view.measured()) == {"p": {"m": one.latency_s}}


def test_failures_alone_measure_nothing() -> None:
    view = SharedView()
    view.apply(report("a", 1, answered=0), 0.0)
    assert view.measured() == ()
    assert latencies([Measured(provider="p", model="m")]) == {}


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
    seen = Observations()
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


def test_calls_of_different_spells_are_kept_apart() -> None:
    seen = Observations()
    seen.add("p", "m", answered(), spell=1, latency_s=0.1)
    seen.add("p", "m", answered(), spell=2, latency_s=0.1)
    assert [one.spell for one in seen.take()] == [1, 2]


def test_names_from_callers_do_not_fill_the_memory() -> None:
    seen = Observations()
    for at in range(3 * MOST_SUMS):
        seen.add("p", f"made-up-{at}", Failure(kind=FailureKind.MODEL_NOT_FOUND), spell=0, latency_s=0.1)
    taken = seen.take()
    assert len(taken) == MOST_SUMS + 1
    assert sum(one.good for one in taken) == 3 * MOST_SUMS
    assert taken[-1].model == OTHER


def test_a_published_state_ages() -> None:
    state = Published(provider="p", open=True, retry_in_s=10.0, throttled_for_s=2.0).aged(4.0)
    assert (state.retry_in_s, state.throttled_for_s, state.open) == (6.0, 0.0, True)

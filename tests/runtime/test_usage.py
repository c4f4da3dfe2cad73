"""Usage by calendar period, by hand-computed figures. No clock: moments are arguments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from runtime.outcome import Completion, Cost, Embeddings, Failure, FailureKind, Usage
from runtime.reports import ModelUsage, ProviderStatus, UsagePeriod, UsageReport, add_usage, merge_usage
from runtime.usage import KEPT_HOURS, MOST_MODELS, OTHER, UsageBook


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def answer(tokens_in: int = 0, tokens_out: int = 0, *, cost: Cost | None = None, estimated: bool = False) -> Completion:
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out, estimated=estimated)
    return Completion(id="1", model="m", usage=usage, cost=cost)


NOW = at("2026-11-25T14:30:00")  # a Wednesday


def test_nothing_was_used() -> None:
    report = UsageBook().report("day", NOW)
    assert report.requests == report.cost_nanousd == 0
    assert report.average_latency_s is None
    assert report.start == datetime(2026, 11, 25, tzinfo=UTC)
    assert report.end == datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "start", "requests"),
    [
        ("hour", "2026-11-25T14:00:00", 1),
        ("day", "2026-11-25T00:00:00", 3),
        ("week", "2026-11-23T00:00:00", 5),
        ("month", "2026-11-01T00:00:00", 7),
        ("all", "2026-10-31T23:59:59", 8),
    ],
)
def test_each_period_holds_its_own(period: UsagePeriod, start: str, requests: int) -> None:
    """The first system ignored the period."""
    book = UsageBook()
    for moment in (
        "2026-10-31T23:59:59",
        "2026-11-01T00:00:00",
        "2026-11-22T23:59:59",
        "2026-11-23T00:00:00",
        "2026-11-24T23:59:59",
        "2026-11-25T00:00:00",
        "2026-11-25T13:59:59",
        "2026-11-25T14:00:00",
    ):
        book.add("p", "m", answer(1), latency_s=0.1, at_s=at(moment))
    report = book.report(period, NOW)
    assert report.requests == report.total.input_tokens == requests
    assert report.start_s == at(start)
    assert report.end_s == NOW


def test_input_and_output_are_as_reported() -> None:
    """The first system kept one total and reported 70 % of it as input and 30 % as output."""
    book = UsageBook()
    book.add(
        "p", "a", answer(5, 95, cost=Cost(input_nanousd=1, output_nanousd=9, total_nanousd=10)), latency_s=1, at_s=NOW
    )
    book.add("p", "a", answer(1, 0, cost=Cost(total_nanousd=7, source="provider")), latency_s=2, at_s=NOW)
    total = book.report("day", NOW).total
    assert (total.input_tokens, total.output_tokens, total.total_tokens) == (6, 95, 101)
    # A provider that names only a total does not get a split invented for it.
    assert (total.input_cost_nanousd, total.output_cost_nanousd, total.cost_nanousd) == (1, 9, 17)


def test_what_came_from_a_cache_and_what_was_thought_is_counted() -> None:
    book = UsageBook()
    usage = Usage(input_tokens=9, output_tokens=8, cached_input_tokens=3, cache_write_tokens=2, reasoning_tokens=7)
    for _ in range(2):
        book.add("p", "a", Completion(id="1", model="a", usage=usage), latency_s=1, at_s=NOW)
    total = book.report("day", NOW).total
    assert (total.cached_input_tokens, total.cache_write_tokens, total.reasoning_tokens) == (6, 4, 14)


def test_each_model_has_its_row_and_rows_make_the_total() -> None:
    book = UsageBook()
    book.add("p", "a", answer(1, 2), latency_s=1.0, at_s=NOW - 5000)
    book.add("p", "a", answer(3, 4, estimated=True), latency_s=2.0, at_s=NOW)
    book.add("q", "a", Embeddings(model="a", usage=Usage(input_tokens=8), cost=Cost()), latency_s=6.0, at_s=NOW)
    report = book.report("day", NOW)
    assert report.models == {
        "p/a": ModelUsage(
            requests=2,
            answered=2,
            input_tokens=4,
            output_tokens=6,
            unpriced_requests=2,
            estimated_requests=1,
            latency_sum_s=3.0,
        ),
        "q/a": ModelUsage(requests=1, answered=1, input_tokens=8, latency_sum_s=6.0),
    }
    assert report.total == add_usage(report.models.values())
    assert report.average_latency_s == 3.0


def test_an_unknown_cost_is_counted_as_unknown() -> None:
    book = UsageBook()
    book.add("p", "m", answer(10, 10), latency_s=1, at_s=NOW)
    book.add("p", "m", answer(10, 10, cost=Cost(total_nanousd=0)), latency_s=1, at_s=NOW)
    total = book.report("hour", NOW).total
    assert total.unpriced_requests == 1
    assert total.cost_nanousd == 0


def test_failures_are_errors_but_leaving_is_not() -> None:
    book = UsageBook()
    book.add("p", "m", Failure(kind=FailureKind.TIMED_OUT), latency_s=60.0, at_s=NOW)
    book.add("p", "m", Failure(kind=FailureKind.CANCELLED), latency_s=9.0, at_s=NOW)
    book.add("p", "m", answer(), latency_s=2.0, at_s=NOW)
    report = book.report("all", NOW)
    assert (report.requests, report.total.answered, report.errors) == (3, 1, 1)
    assert report.average_latency_s == 2.0


def test_memory_is_bounded_and_nothing_is_lost_from_all() -> None:
    book = UsageBook()
    for hour in range(KEPT_HOURS + 50):
        book.add("p", "m", answer(1), latency_s=1, at_s=hour * 3600.0)
    book.add("p", "m", answer(1), latency_s=1, at_s=0.0)  # later than late
    end = (KEPT_HOURS + 50) * 3600.0
    assert book.report("all", end).requests == KEPT_HOURS + 51
    assert book.report("all", end).start_s == 0.0
    assert len(book._hours) == KEPT_HOURS


def test_names_from_callers_do_not_fill_the_memory() -> None:
    book = UsageBook()
    for number in range(MOST_MODELS + 20):
        book.add("p", str(number), answer(1), latency_s=1, at_s=NOW)
    report = book.report("hour", NOW)
    assert len(report.models) == MOST_MODELS + 1
    assert report.models[OTHER].requests == 20
    assert report.requests == MOST_MODELS + 20


def test_reports_are_merged_by_their_sums() -> None:
    """The first system averaged averages."""
    slow, fast = UsageBook(), UsageBook()
    slow.add("p", "m", answer(1), latency_s=10.0, at_s=NOW - 7200)
    for _ in range(9):
        fast.add("p", "m", answer(1), latency_s=1.0, at_s=NOW)
    fast.add("q", "m", answer(1), latency_s=1.0, at_s=NOW)
    merged = merge_usage("all", [slow.report("all", NOW), fast.report("all", NOW + 1)])
    assert merged.requests == 11
    assert merged.average_latency_s == pytest.approx(20 / 11)
    assert merged.models["p/m"].requests == 10
    assert (merged.start_s, merged.end_s) == (NOW - 7200, NOW + 1)
    assert merge_usage("day", []) == UsageReport(period="day", start_s=0.0, end_s=0.0)


def test_there_are_the_five_periods_of_the_first_system() -> None:
    assert get_args(UsagePeriod) == ("hour", "day", "week", "month", "all")


def test_load_is_what_is_in_flight_now() -> None:
    assert ProviderStatus(provider="p", available=True, in_flight=3, max_in_flight=4).load == 0.75
    assert ProviderStatus(provider="p", available=True, in_flight=3).load is None

"""Reports: sums by calendar, trends, a projection that says how sure it is, and prices of other models."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ledger.periods import DAY_MS, HOUR_MS, Period
from runtime.ledger.report import before, cut_for, known_cost, lines, project, reprice, trends
from runtime.ledger.store.base import Store, StoreFailure
from runtime.ledger.store.tally import Cell, Sums
from runtime.models import FREE, Pricing
from runtime.outcome import Usage
from runtime.price import cost_of
from tests.ledger.rows import NOON, row
from tests.ledger.test_store import appended

FLAT = Pricing(input=1_000_000_000, output=2_000_000_000)
TODAY = NOON


def day(n: int, cost: int, unpriced: int = 0) -> Cell:
    return Cell(TODAY + n * DAY_MS, (), Sums(cost_nanousd=cost, unpriced=unpriced, attempts=1))


def test_days_make_weeks_and_months_that_begin_in_utc() -> None:
    # 2023-11-15 is a Wednesday.
    cells = [day(n, 1) for n in range(-20, 20)]
    weeks = lines(cells, Period.WEEK)
    assert [cell.sums.cost_nanousd for cell in weeks] == [4, 7, 7, 7, 7, 7, 1]
    assert {datetime.fromtimestamp(cell.start_ms / 1000, UTC).weekday() for cell in weeks} == {0}
    months = lines(cells, Period.MONTH)
    assert [(cell.start_ms, cell.sums.cost_nanousd) for cell in months] == [
        (int(datetime(2023, 10, 1, tzinfo=UTC).timestamp() * 1000), 6),
        (int(datetime(2023, 11, 1, tzinfo=UTC).timestamp() * 1000), 30),
        (int(datetime(2023, 12, 1, tzinfo=UTC).timestamp() * 1000), 4),
    ]
    assert lines(cells)[0].sums.cost_nanousd == 40


def test_the_dearest_stands_first() -> None:
    cells = [
        Cell(0, ("a",), Sums(cost_nanousd=1)),
        Cell(0, ("b",), Sums(cost_nanousd=3)),
        Cell(0, ("a",), Sums(cost_nanousd=1)),
    ]
    assert [(cell.values, cell.sums.cost_nanousd) for cell in lines(cells)] == [(("b",), 3), (("a",), 2)]


async def test_what_the_store_sums_is_what_a_report_shows(store: Store) -> None:
    await appended(
        store,
        row("w:1", cost=3, model="a"),
        row("w:2", cost=None, model="b"),
        row("w:3", cost=4, model="a", at_ms=NOON + 7 * DAY_MS),
    )
    cells = await store.cells(cut_for(Period.WEEK, by=("model",)))
    assert not isinstance(cells, StoreFailure)
    found = [(cell.values, cell.sums.cost_nanousd, cell.sums.unpriced) for cell in lines(cells, Period.WEEK)]
    assert found == [(("a",), 3, 0), (("b",), 0, 1), (("a",), 4, 0)]


def test_a_trend_compares_with_the_span_before() -> None:
    assert before(100, 130) == (70, 100)
    now = [Cell(0, ("a",), Sums(cost_nanousd=150)), Cell(0, ("new",), Sums(cost_nanousd=10, unpriced=2))]
    then = [Cell(0, ("a",), Sums(cost_nanousd=100)), Cell(0, ("gone",), Sums(cost_nanousd=20))]
    found = {trend.values[0]: (trend.change, trend.certain) for trend in trends(now, then)}
    assert found == {"a": (0.5, True), "gone": (-1.0, True), "new": (None, False)}
    assert [trend.values[0] for trend in trends(now, then)] == ["a", "gone", "new"]


def test_a_steady_cost_is_projected_as_it_is() -> None:
    projection = project([day(n, 1_000) for n in range(-40, 1)], now_ms=TODAY + HOUR_MS)
    assert projection is not None
    assert (projection.expected_nanousd, projection.low_nanousd, projection.high_nanousd) == (30_000, 30_000, 30_000)
    assert projection.learned_days == 28


def test_weekends_are_projected_as_weekends() -> None:
    # Index 0 is a Wednesday: Saturdays and Sundays are 3 and 4 days later.
    cells = [day(n, 0 if (n + 2) % 7 in (5, 6) else 700) for n in range(-28, 0)]
    projection = project(cells, now_ms=TODAY, horizon=7)
    assert projection is not None
    assert projection.expected_nanousd == 5 * 700
    tomorrow_on = project(cells, now_ms=TODAY, horizon=3)
    assert tomorrow_on is not None
    assert tomorrow_on.expected_nanousd == 3 * 700


def test_the_day_that_is_not_over_teaches_nothing() -> None:
    projection = project([day(-1, 100), day(0, 10**9)], now_ms=TODAY + HOUR_MS)
    assert projection is not None
    assert (projection.expected_nanousd, projection.low_nanousd) == (3_000, None)
    assert project([day(0, 100)], now_ms=TODAY + HOUR_MS) is None
    assert project([], now_ms=TODAY) is None


def test_days_without_traffic_count_once_there_was_any() -> None:
    projection = project([day(-10, 100)], now_ms=TODAY)
    assert projection is not None
    assert projection.learned_days == 10
    assert projection.expected_nanousd < 30 * 100


def test_unpriced_attempts_of_the_learned_days_are_told() -> None:
    projection = project([day(-40, 1, unpriced=9), day(-3, 1, unpriced=2)], now_ms=TODAY)
    assert projection is not None
    assert projection.unpriced == 2


def test_about_four_of_five_projections_hold() -> None:
    rng = random.Random(7)
    inside = 0
    for _ in range(300):
        cost = [max(0, round(rng.gauss(1e6 if n % 7 > 1 else 2e5, 2e5))) for n in range(58)]
        projection = project([day(n - 28, cost[n]) for n in range(28)], now_ms=TODAY)
        assert projection is not None
        assert projection.low_nanousd is not None
        assert projection.high_nanousd is not None
        inside += projection.low_nanousd <= sum(cost[28:]) <= projection.high_nanousd
    assert 0.7 < inside / 300 < 0.9


def used(input_tokens: int, output_tokens: int, ok: int = 1) -> Cell:
    return Cell(0, (), Sums(attempts=ok, ok=ok, input_tokens=input_tokens, output_tokens=output_tokens))


def test_the_same_tokens_are_priced_elsewhere() -> None:
    cheap = Pricing(input=1_000_000, output=2_000_000)
    prices = {"dear": FLAT, "cheap": cheap, "unknown": None, "local": FREE}
    found = reprice([used(1_000, 100), used(3_000, 0)], prices, {"cheap": 0.8})
    assert [(it.name, it.cost_nanousd, it.unpriced, it.quality) for it in found] == [
        ("local", 0, 0, None),
        ("cheap", 4_200, 0, 0.8),
        ("dear", 4_200_000, 0, None),
        ("unknown", None, 2, None),
    ]


def test_a_price_by_length_is_looked_up_for_the_mean_prompt() -> None:
    tiered = Pricing(input=1_000_000, output=0, applies_up_to_tokens=1_000, beyond=Pricing(input=10_000_000, output=0))
    found = reprice([used(5_000, 0, ok=10), used(4_000, 0, ok=2)], {"tiered": tiered})
    assert found[0].cost_nanousd == 5_000 + 40_000
    assert found[0].about
    open_ended = Pricing(input=1_000_000, output=0, applies_up_to_tokens=1_000)
    (partly,) = reprice([used(500, 0), used(4_000, 0)], {"it": open_ended})
    assert (partly.cost_nanousd, partly.unpriced) == (500, 1)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=9))
def test_repricing_at_a_flat_price_is_the_sum_of_the_invoices(tokens: list[tuple[int, int]]) -> None:
    (found,) = reprice([used(came, went) for came, went in tokens], {"it": FLAT})
    costs = [cost_of(Usage(input_tokens=came, output_tokens=went), FLAT) for came, went in tokens]
    assert found.cost_nanousd == sum(cost.total_nanousd for cost in costs if cost)


def test_a_price_for_each_request_counts_once_for_each() -> None:
    (found,) = reprice([used(1_000, 0, ok=3)], {"it": Pricing(input=1_000_000, output=0, per_request=7)})
    assert found.cost_nanousd == 1_000 + 3 * 7


def test_what_only_unpriced_attempts_cost_is_unknown_and_not_nothing() -> None:
    assert known_cost(Sums(attempts=2, unpriced=2)) is None
    assert known_cost(Sums(attempts=2, unpriced=1, cost_nanousd=5)) == 5
    assert known_cost(Sums(attempts=2)) == 0


def test_what_is_not_kept_together_is_refused() -> None:
    with pytest.raises(ValueError, match="route"):
        cut_for(by=("tag", "route"))

"""Sums agree with rows whatever happens to them, and the calendar is right."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.ledger.periods import Period, end_of, start_of
from runtime.ledger.rows import Account, Flag, Row
from runtime.ledger.store.columns import COLUMNS, flat, row_of
from runtime.ledger.store.sorting import sort_out
from runtime.ledger.store.sqlite import _append
from runtime.ledger.store.sqlite_writer import connect, migrate
from runtime.ledger.store.tally import MEASURES, Sums, counts_of, minus, tally
from tests.ledger.rows import NOON, lost, row

accounts = st.sampled_from(
    [Account(), Account(key="a", org="x"), Account(key="b", team="t", org="x", tags=("p", "q", "p"))]
)
flags = st.sampled_from([Flag(0), Flag.STREAMED, Flag.RECONCILED, Flag.UNPRICED, Flag.CACHED | Flag.OVERRUN])


@st.composite
def rows(draw: st.DrawFn) -> Row:
    made = row(
        f"w:{draw(st.integers(0, 5))}",
        at_ms=NOON + draw(st.integers(0, 100 * 3_600_000)),
        cost=draw(st.none() | st.integers(0, 10**9)),
        tokens=(draw(st.integers(0, 9)), draw(st.integers(0, 9))),
        account=draw(accounts),
        flags=draw(flags),
        model=draw(st.sampled_from(["m", "n"])),
    )
    return lost(made) if draw(st.booleans()) else made


def test_sums_are_named_in_the_order_in_which_they_are_kept() -> None:
    assert Sums._fields == MEASURES
    assert len(counts_of(flat(row()))) == len(MEASURES)


@given(rows())
def test_a_row_survives_its_columns(made: Row) -> None:
    again = row_of(flat(made))
    assert flat(again) == flat(made)
    assert again.intent.account.tags == made.intent.account.tags


@given(st.lists(rows(), max_size=12))
def test_what_comes_and_goes_leaves_nothing(batch: list[Row]) -> None:
    flats = [flat(each) for each in batch]
    sums = tally(flats, flats)
    assert all(not any(counts) for part in sums for counts in part.values())
    assert all(minus(minus(counts_of(values))) == counts_of(values) for values in flats)


@settings(max_examples=60)
@given(batches=st.lists(st.lists(rows(), max_size=6), max_size=6))
def test_whatever_comes_in_whatever_order_sums_changes_and_rows_agree(batches: list[list[Row]]) -> None:
    with closing(connect(Path(":memory:"))) as db:
        migrate(db)
        counted: dict[str, int] = {}
        cost = 0
        for batch in batches:
            db.execute("begin")
            answer = _append(db, batch)
            db.execute("commit")
            for change in answer.changes:
                cost += change.cost_nanousd
                counted[change.row.intent.attempt] = counted.get(change.row.intent.attempt, 0) + change.new
        stored = db.execute(f"select {', '.join(COLUMNS)} from attempt").fetchall()
        assert set(counted.values()) <= {1}
        assert {values[0] for values in stored} == set(counted)
        assert cost == sum(values[COLUMNS.index("cost_nanousd")] or 0 for values in stored)
        sums = tally(stored)
        assert kept(db, "hourly", 7) == {place: counts for place, counts in sums.hourly.items() if any(counts)}
        assert kept(db, "hourly_tag", 5) == {place: counts for place, counts in sums.tagged.items() if any(counts)}
        assert kept(db, "total", 4) == {place: counts for place, counts in sums.totals.items() if any(counts)}


def kept(db: sqlite3.Connection, table: str, keys: int) -> dict[tuple[Any, ...], tuple[int, ...]]:
    found = {values[:keys]: values[keys:] for values in db.execute(f"select * from {table}")}
    return {place: counts for place, counts in found.items() if any(counts)}


@given(st.lists(rows(), max_size=8), st.lists(rows(), max_size=8))
def test_each_attempt_of_a_batch_is_new_corrected_known_or_too_old(first: list[Row], second: list[Row]) -> None:
    there = {values[0]: values for values in sort_out(first, {}, 0).new}
    sorted_out = sort_out(second, there, NOON)
    assert [values[0] for values in sorted_out.corrected] == [values[0] for values in sorted_out.taken]
    assert not there.keys() & {values[0] for values in sorted_out.new}
    # Once it is written down, the same batch changes nothing more.
    there.update({values[0]: values for values in (*sorted_out.new, *sorted_out.corrected)})
    again = sort_out([change.row for change in sorted_out.appended.changes], there, NOON)
    assert not again.appended.changes


@given(st.sampled_from(Period), st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_a_moment_lies_in_its_period_and_the_next_one_begins_where_it_ends(period: Period, at: datetime) -> None:
    at_ms = int(at.replace(tzinfo=UTC).timestamp() * 1000)
    start, end = start_of(period, at_ms), end_of(period, at_ms)
    assert start <= at_ms
    assert start_of(period, start) == start
    if end is None:
        assert period is Period.TOTAL
        return
    assert at_ms < end
    assert start_of(period, end) == end
    assert start_of(period, end - 1) == start
    first = datetime.fromtimestamp(start / 1000, UTC)
    assert (first.minute, first.second) == (0, 0)
    if period is Period.WEEK:
        assert first.weekday() == 0
    if period is Period.MONTH:
        assert first.day == 1

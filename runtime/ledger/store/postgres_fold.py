"""Retention in Postgres: old rows go, their sums stay, and their room is used again.

The files of a table seldom become smaller, so that what counts is an estimate of what is alive in them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runtime.ledger.periods import DAY_MS, Period, start_of
from runtime.ledger.store import statements
from runtime.ledger.store.base import Folded, Retention, StoreFailure
from runtime.ledger.store.statements import numbered

Write = Callable[[Callable[[Any], Awaitable[int]]], Awaitable[int | StoreFailure]]

FOLD_ROWS = 5_000
"""Rows that go in one transaction: appends wait no longer than that."""

INDEXED = 1.5
"""What a row needs in all, by what it holds: three indexes and what pages leave free."""


async def fold(
    write: Write, vacuum: Callable[[], Awaitable[StoreFailure | None]], retention: Retention, *, now_ms: int
) -> Folded | StoreFailure:
    """In small transactions, between which others write."""
    before_ms, removed = 0, 0
    if retention.days is not None:
        before_ms = now_ms - retention.days * DAY_MS
        gone = await _remove_all(write, before_ms)
        if isinstance(gone, StoreFailure):
            return gone
        removed += gone
    keep_from = {period: start_of(period, now_ms - 2 * DAY_MS) for period in Period}
    tidy = statements.stale_totals(keep_from)
    if retention.hourly_days is not None:
        # Whole days alone: part of a day would become that day's first hour.
        tidy += statements.coarser(start_of(Period.DAY, now_ms - retention.hourly_days * DAY_MS))
    tidied = await write(lambda db: _tidy(db, tidy))
    if isinstance(tidied, StoreFailure):
        return tidied
    spared_ms = now_ms - retention.spare_ms
    used = await write(used_bytes)
    while not isinstance(used, StoreFailure) and retention.max_bytes is not None and used > retention.max_bytes:
        reached = await write(lambda db: _oldest_ms(db, spared_ms))
        if isinstance(reached, StoreFailure):
            return reached
        if not reached:
            break
        before_ms = max(before_ms, reached)
        gone = await _remove_all(write, before_ms)
        if isinstance(gone, StoreFailure):
            return gone
        removed += gone
        used = await write(used_bytes)
    if isinstance(used, StoreFailure):
        return used
    if removed and (failure := await vacuum()):
        return failure
    too_large = retention.max_bytes is not None and used > retention.max_bytes
    return Folded(rows=removed, before_ms=before_ms, bytes=used, too_large=too_large)


async def _tidy(db: Any, queries: list[statements.Query]) -> int:
    return sum([await _rows(db, numbered(sql), *values) for sql, values in queries])


async def used_bytes(db: Any) -> int:
    """What is alive: rows by their number and the mean of the newest, the rest as the server counts it."""
    rows = await db.fetchval("select count(*) from attempt")
    each = await db.fetchval(
        "select coalesce(avg(pg_column_size(it.*)), 0)::float8 "
        "from (select * from attempt order by seq desc limit 1000) it"
    )
    others = await db.fetchval(
        "select sum(pg_total_relation_size(name::regclass))::bigint "
        "from unnest(array['hourly', 'hourly_tag', 'total', 'intent', 'document', 'audit']) name"
    )
    return int(rows * each * INDEXED) + int(others)


async def _remove_all(write: Write, before_ms: int) -> int | StoreFailure:
    removed = 0
    while True:
        gone = await write(lambda db: _remove(db, before_ms))
        if isinstance(gone, StoreFailure):
            return gone
        removed += gone
        if gone < FOLD_ROWS:
            return removed


async def _remove(db: Any, before_ms: int) -> int:
    # The mark comes first, and with the rows: whatever arrives from before it cannot be told from what went.
    await db.execute("update mark set number = $1 where name = 'folded_ms' and number < $1", before_ms)
    return await _rows(
        db,
        "delete from attempt where seq in (select seq from attempt where at_ms < $1 order by at_ms limit $2)",
        before_ms,
        FOLD_ROWS,
    )


async def _oldest_ms(db: Any, spared_ms: int) -> int:
    """Up to where the next thousands of rows reach; 0 where none may go."""
    found = await db.fetchval(
        "select max(at_ms) from (select at_ms from attempt where at_ms < $1 order by at_ms limit $2) it",
        spared_ms,
        FOLD_ROWS,
    )
    return 0 if found is None else int(found) + 1


async def _rows(db: Any, sql: str, *values: object) -> int:
    said: str = await db.execute(sql, *values)
    return int(said.rsplit(" ", 1)[-1])

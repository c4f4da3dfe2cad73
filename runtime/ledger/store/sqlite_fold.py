"""Retention in SQLite: old rows go, their sums stay, and the file gives its room back."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable

from runtime.ledger.periods import DAY_MS, Period, start_of
from runtime.ledger.store import statements
from runtime.ledger.store.base import Folded, Retention, StoreFailure

Write = Callable[[Callable[[sqlite3.Connection], int]], Awaitable[int | StoreFailure]]
"""Runs a job in a transaction of its own turn."""

FOLD_ROWS = 5_000
"""Rows that go in one transaction: appends wait no longer than that."""

VACUUM_PAGES = 2_000
"""Pages that are given back to the disk in one transaction."""


async def fold(write: Write, retention: Retention, *, now_ms: int) -> Folded | StoreFailure:
    """In many small transactions, between which others write."""
    before_ms, removed = 0, 0
    if retention.days is not None:
        before_ms = now_ms - retention.days * DAY_MS
        gone = await _remove_all(write, before_ms)
        if isinstance(gone, StoreFailure):
            return gone
        removed += gone
    stale = await write(lambda db: _drop_stale_totals(db, now_ms))
    if isinstance(stale, StoreFailure):
        return stale
    if retention.hourly_days is not None:
        # Whole days alone: part of a day would become that day's first hour.
        whole_ms = start_of(Period.DAY, now_ms - retention.hourly_days * DAY_MS)
        coarse = await write(lambda db: _coarsen(db, whole_ms))
        if isinstance(coarse, StoreFailure):
            return coarse
    spared_ms = now_ms - retention.spare_ms
    used = await _settled_size(write)
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
        used = await _settled_size(write)
    if isinstance(used, StoreFailure):
        return used
    too_large = retention.max_bytes is not None and used > retention.max_bytes
    return Folded(rows=removed, before_ms=before_ms, bytes=used, too_large=too_large)


async def _remove_all(write: Write, before_ms: int) -> int | StoreFailure:
    removed = 0
    while True:
        gone = await write(lambda db: _remove(db, before_ms))
        if isinstance(gone, StoreFailure):
            return gone
        removed += gone
        if gone < FOLD_ROWS:
            return removed


def _remove(db: sqlite3.Connection, before_ms: int) -> int:
    # The mark comes first, and with the rows: whatever arrives from before it cannot be told from what went.
    db.execute(statements.SET_FOLDED, (before_ms, before_ms))
    return db.execute(
        "delete from attempt where seq in (select seq from attempt where at_ms < ? order by at_ms limit ?)",
        (before_ms, FOLD_ROWS),
    ).rowcount


def _oldest_ms(db: sqlite3.Connection, spared_ms: int) -> int:
    """Up to where the next thousands of rows reach; 0 where none may go."""
    found = db.execute(
        "select max(at_ms) from (select at_ms from attempt where at_ms < ? order by at_ms limit ?)",
        (spared_ms, FOLD_ROWS),
    ).fetchone()[0]
    return 0 if found is None else int(found) + 1


def _drop_stale_totals(db: sqlite3.Connection, now_ms: int) -> int:
    keep_from = {period: start_of(period, now_ms - 2 * DAY_MS) for period in Period}
    return sum(db.execute(sql, values).rowcount for sql, values in statements.stale_totals(keep_from))


def _coarsen(db: sqlite3.Connection, before_ms: int) -> int:
    return sum(db.execute(sql, values).rowcount for sql, values in statements.coarser(before_ms))


async def _settled_size(write: Write) -> int | StoreFailure:
    """What the ledger needs, after free pages were given back."""
    from runtime.ledger.store.sqlite import used_bytes

    before = -1
    while True:
        left = await write(_vacuum)
        if isinstance(left, StoreFailure):
            return left
        if left in (0, before):
            return await write(used_bytes)
        before = left


def _vacuum(db: sqlite3.Connection) -> int:
    """Give pages back; returns how many more are free."""
    db.execute(f"pragma incremental_vacuum({VACUUM_PAGES})").fetchall()
    left: int = db.execute("pragma freelist_count").fetchone()[0]
    return left

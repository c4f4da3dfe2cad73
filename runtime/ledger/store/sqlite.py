"""The ledger in one SQLite file: one thread that writes, in batches, and some that read.

WAL, so that readers and the writer do not wait for each other. Not on a network disk: its locks do not hold there.
`synchronous="full"` (the default) survives a loss of power, for one fsync per transaction; "normal" the death of any
process.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

from runtime.ledger.periods import Period, start_of
from runtime.ledger.rows import Intent, Row
from runtime.ledger.store import statements
from runtime.ledger.store.base import (
    Appended,
    Audit,
    Document,
    Folded,
    Numbered,
    Retention,
    StoreFailure,
    Total,
    Trouble,
    Where,
)
from runtime.ledger.store.columns import INTENT_COLUMNS, flat_intent, intent_of, row_of
from runtime.ledger.store.shapes import audit_of, audit_values, cell_of, document_of, document_values, total_of
from runtime.ledger.store.sorting import Sorted, all_new, flat_rows, sort_out
from runtime.ledger.store.sqlite_errors import failure_of
from runtime.ledger.store.sqlite_writer import CLOSED, Fenced, Job, Writer, connect
from runtime.ledger.store.statements import Insert
from runtime.ledger.store.tally import Cell, Cut, tally

T = TypeVar("T")

WIDE = (256, 32, 4, 1)
"""Rows of one insert: each statement gives up Python's lock, and another thread that works may keep it for 5 ms."""


class SqliteStore:
    """One file. `open` makes or migrates it."""

    def __init__(self, path: Path, writer: Writer, *, readers: int = 2) -> None:
        self._path = path
        self._writer = writer
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="ledger-reader")
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._epoch = 0

    @classmethod
    async def open(
        cls, path: Path, *, synchronous: Literal["full", "normal"] = "full", max_pages: int | None = None
    ) -> SqliteStore | StoreFailure:
        """Make the file where there is none, with the rights of its owner alone, and migrate it where it is older.

        `max_pages` of 4 KiB are the most that the file may take; None: what the disk has.
        """
        writer = Writer(path, synchronous=synchronous, max_pages=max_pages)
        failure = await asyncio.wrap_future(writer.ready)
        return failure if failure is not None else cls(path, writer)

    async def acquire_epoch(self, owner: str, *, at_ms: int) -> int | StoreFailure:
        def job(db: sqlite3.Connection) -> int:
            number: int = db.execute(statements.TAKE_EPOCH, (owner,)).fetchone()[0]
            return number

        taken = await self._write(job, fenced=False)
        if isinstance(taken, int):
            self._epoch = taken
        return taken

    async def append(self, rows: Sequence[Row]) -> Appended | StoreFailure:
        return await self._write(lambda db: _append(db, rows)) if rows else Appended()

    async def put_intents(self, intents: Sequence[Intent]) -> StoreFailure | None:
        def job(db: sqlite3.Connection) -> None:
            db.executemany(
                f"insert into intent ({', '.join(INTENT_COLUMNS)}) select {', '.join('?' * len(INTENT_COLUMNS))} "
                "where not exists (select 1 from attempt where attempt = ?) on conflict do nothing",
                [(*flat_intent(intent), intent.attempt) for intent in intents],
            )

        return await self._write(job) if intents else None

    async def remove_intents(self, attempts: Sequence[str]) -> StoreFailure | None:
        return await self._write(lambda db: _end_intents(db, attempts)) if attempts else None

    async def open_intents(self) -> tuple[Intent, ...] | StoreFailure:
        found = await self._read(f"select {', '.join(INTENT_COLUMNS)} from intent order by at_ms, attempt", ())
        return found if isinstance(found, StoreFailure) else tuple(map(intent_of, found))

    async def totals(self, now_ms: int) -> tuple[Total, ...] | StoreFailure:
        found = await self._read(*statements.totals({period: start_of(period, now_ms) for period in Period}))
        return found if isinstance(found, StoreFailure) else tuple(map(total_of, found))

    async def change(
        self, put: Sequence[Document] = (), *, gone: Sequence[tuple[str, str]] = (), audit: Sequence[Audit] = ()
    ) -> StoreFailure | None:
        def job(db: sqlite3.Connection) -> None:
            db.executemany(statements.DROP_DOCUMENT, gone)
            db.executemany(statements.PUT_DOCUMENT, map(document_values, put))
            db.executemany(statements.PUT_AUDIT, map(audit_values, audit))

        return await self._write(job)

    async def documents(
        self, kind: str, *, name: str | None = None, parent: str | None = None, sha256: str | None = None
    ) -> tuple[Document, ...] | StoreFailure:
        found = await self._read(*statements.documents(kind, {"id": name, "parent": parent, "sha256": sha256}))
        return found if isinstance(found, StoreFailure) else tuple(map(document_of, found))

    async def audit(self, *, after: int = 0, limit: int = 1000) -> tuple[Audit, ...] | StoreFailure:
        found = await self._read(statements.AUDIT, (after, limit))
        return found if isinstance(found, StoreFailure) else tuple(map(audit_of, found))

    async def cells(self, cut: Cut) -> tuple[Cell, ...] | StoreFailure:
        found = await self._read(*statements.cells(cut))
        return found if isinstance(found, StoreFailure) else tuple(cell_of(cut, values) for values in found)

    async def rows(self, where: Where, *, page: int = 2000) -> AsyncIterator[tuple[Row, ...] | StoreFailure]:
        after: tuple[int, int] | None = None
        while True:
            # Each page is a read of its own: a slow reader must not keep the WAL from being emptied.
            found = await self._read(*statements.rows(where, after, page))
            if isinstance(found, StoreFailure):
                yield found
                return
            if found:
                yield tuple(row_of(values[1:]) for values in found)
            if len(found) < page:
                return
            after = (found[-1][2], found[-1][0])

    async def newest(self, where: Where, *, after: int = 0, limit: int = 100) -> tuple[Numbered, ...] | StoreFailure:
        found = await self._read(*statements.newest(where, after, limit))
        if isinstance(found, StoreFailure):
            return found
        return tuple(Numbered(values[0], row_of(values[1:])) for values in found)

    async def fold(self, retention: Retention, *, now_ms: int) -> Folded | StoreFailure:
        from runtime.ledger.store.sqlite_fold import fold

        return await fold(self._write, retention, now_ms=now_ms)

    async def size(self) -> int | StoreFailure:
        return await self._reader(used_bytes)

    async def check(self) -> StoreFailure | None:
        found = await self._read("pragma integrity_check(1)", ())
        if isinstance(found, StoreFailure) or found[0][0] == "ok":
            return found if isinstance(found, StoreFailure) else None
        return StoreFailure(kind=Trouble.CORRUPT, detail=f"{self._path}: {found[0][0]}")

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._readers.shutdown()
        for db in self._reading:
            db.close()

    async def _write(self, job: Job[T], *, fenced: bool = True) -> T | StoreFailure:
        epoch = self._epoch

        def guarded(db: sqlite3.Connection) -> T:
            if fenced:
                (current, owner) = db.execute("select number, word from mark where name = 'epoch'").fetchone()
                if current != epoch or not epoch:
                    raise Fenced(f"{owner or 'nobody'} owns it now" if epoch else "acquire it first, then write")
            return job(db)

        return await self._writer.submit(guarded)

    async def _read(self, sql: str, values: Sequence[Any]) -> list[Any] | StoreFailure:
        return await self._reader(lambda db: db.execute(sql, values).fetchall())

    async def _reader(self, job: Job[T]) -> T | StoreFailure:
        def read() -> T | StoreFailure:
            try:
                db = getattr(self._local, "db", None)
                if db is None:
                    db = self._local.db = connect(self._path)
                    db.execute("pragma query_only = on")
                    self._reading.append(db)
                return job(db)
            except sqlite3.Error as error:
                return failure_of(error, self._path)

        if self._writer.closed:
            return CLOSED
        return await asyncio.get_running_loop().run_in_executor(self._readers, read)


def used_bytes(db: sqlite3.Connection) -> int:
    pages, free, each = (
        db.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * each)


def _append(db: sqlite3.Connection, rows: Sequence[Row]) -> Appended:
    flats = flat_rows(rows)
    folded_ms = db.execute("select number from mark where name = 'folded_ms'").fetchone()[0]
    _end_intents(db, [row.intent.attempt for row in rows])
    if all(values[1] >= folded_ms for values in flats):
        # Nearly always nothing is there yet: try that first, and look only where it was wrong.
        db.execute("savepoint fresh")
        if _insert(db, statements.NEW_ROWS, flats) == len(flats):
            db.execute("release fresh")
            _add(db, Sorted(flats, [], [], Appended()))
            return all_new(rows, flats)
        db.execute("rollback to fresh")
        db.execute("release fresh")
    sorted_out = sort_out(rows, _stored(db, [values[0] for values in flats]), folded_ms)
    _insert(db, statements.NEW_ROWS, sorted_out.new)
    db.executemany(statements.CORRECT, [(*values, values[0]) for values in sorted_out.corrected])
    _add(db, sorted_out)
    return sorted_out.appended


def _insert(db: sqlite3.Connection, insert: Insert, rows: Sequence[tuple[Any, ...]]) -> int:
    """How many rows of the table came or changed."""
    written = begin = 0
    for wide in WIDE:
        while len(rows) - begin >= wide:
            values = list(chain.from_iterable(rows[begin : begin + wide]))
            written += db.execute(_sql(insert, wide), values).rowcount
            begin += wide
    return written


@lru_cache(maxsize=16 * len(WIDE))
def _sql(insert: Insert, rows: int) -> str:
    return insert.of(rows)


def _stored(db: sqlite3.Connection, attempts: Sequence[str]) -> Mapping[str, tuple[Any, ...]]:
    found = db.execute(
        f"select {statements.ROW} from attempt where attempt in (select value from json_each(?))",
        (json.dumps(attempts),),
    )
    return {values[0]: values for values in found}


def _add(db: sqlite3.Connection, sorted_out: Sorted) -> None:
    sums = tally([*sorted_out.new, *sorted_out.corrected], sorted_out.taken)
    _insert(db, statements.ADD_HOURLY, [place + counts for place, counts in sums.hourly.items()])
    _insert(db, statements.ADD_TAGGED, [place + counts for place, counts in sums.tagged.items()])
    _insert(db, statements.ADD_TOTAL, [place + counts for place, counts in sums.totals.items()])


def _end_intents(db: sqlite3.Connection, attempts: Sequence[str]) -> None:
    if db.execute("select 1 from intent limit 1").fetchone():
        db.execute("delete from intent where attempt in (select value from json_each(?))", (json.dumps(attempts),))

"""The ledger in Postgres: for more than one node, by URL. Needs the extra `raygate[postgres]` (asyncpg).

The owner's epoch is a row that every write holds shared until it is committed; acquiring changes it. So whoever
acquires waits for what is under way, and from then on nothing of the former owner's comes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from runtime.ledger.periods import Period, start_of
from runtime.ledger.rows import Intent, Row
from runtime.ledger.store import migrations, statements
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
from runtime.ledger.store.columns import COLUMNS, INTENT_COLUMNS, Flat, flat_intent, intent_of, row_of
from runtime.ledger.store.shapes import audit_of, audit_values, cell_of, document_of, document_values, total_of
from runtime.ledger.store.sorting import Sorted, all_new, flat_rows, sort_out
from runtime.ledger.store.statements import Insert, numbered
from runtime.ledger.store.tally import Cell, Cut, tally

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")

CONNECT_S = 5.0
"""How long a server may take to answer at all."""

COMMAND_S = 60.0
"""How long it may take for one statement."""

SETTINGS = {
    "application_name": "raygate-ledger",
    # Nobody waits for long for a lock, and a client that hangs does not hold one for ever.
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "20s",
}

NOTHING_HERE = "asyncpg is not installed; pip install 'raygate[postgres]'"


class _Fenced(Exception):
    """Somebody else has acquired the ledger. Never leaves this module but as a failure."""


class _Newer(Exception):
    """The database's version is one that we do not know."""


class PostgresStore:
    """One schema of one database. `open` makes or migrates it."""

    def __init__(self, pool: asyncpg.Pool, where: str) -> None:
        self._pool = pool
        self._where = where
        self._turn = asyncio.Lock()
        self._epoch = 0
        self._under_way: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, url: str, *, schema: str = "raygate") -> PostgresStore | StoreFailure:
        """`url` as libpq knows it. Its role must be allowed to make `schema`, or to write in it where it is there."""
        try:
            import asyncpg
        except ImportError:
            return StoreFailure(kind=Trouble.MISSING, detail=NOTHING_HERE)
        where = _shown(url)
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=4,
                timeout=CONNECT_S,
                command_timeout=COMMAND_S,
                server_settings={**SETTINGS, "search_path": schema},
            )
        except Exception as error:  # sorted by its type; a bug is raised again
            return failure_of(error, where)
        store = cls(pool, where)
        failure = await store._guarded(lambda: _migrate(pool, schema))
        if isinstance(failure, StoreFailure):
            await store.close()
            return failure
        return store

    async def acquire_epoch(self, owner: str, *, at_ms: int) -> int | StoreFailure:
        async def job(db: Connection) -> int:
            number: int = await db.fetchval(numbered(statements.TAKE_EPOCH), owner)
            return number

        taken = await self._write(job, fenced=False)
        if isinstance(taken, int):
            self._epoch = taken
        return taken

    async def append(self, rows: Sequence[Row]) -> Appended | StoreFailure:
        return await self._write(lambda db: _append(db, rows)) if rows else Appended()

    async def put_intents(self, intents: Sequence[Intent]) -> StoreFailure | None:
        async def job(db: Connection) -> None:
            settled = await db.fetch(
                "select attempt from attempt where attempt = any($1)", [intent.attempt for intent in intents]
            )
            over = {attempt for (attempt,) in settled}
            still = [flat_intent(intent) for intent in intents if intent.attempt not in over]
            await _insert(db, Insert("intent", INTENT_COLUMNS, "on conflict do nothing"), still)

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
        async def job(db: Connection) -> None:
            await db.executemany(numbered(statements.DROP_DOCUMENT), gone)
            await db.executemany(numbered(statements.PUT_DOCUMENT), map(document_values, put))
            await db.executemany(numbered(statements.PUT_AUDIT), map(audit_values, audit))

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
        from runtime.ledger.store.postgres_fold import fold

        return await fold(self._write, self._vacuum, retention, now_ms=now_ms)

    async def size(self) -> int | StoreFailure:
        from runtime.ledger.store.postgres_fold import used_bytes

        return await self._guarded(lambda: self._with(used_bytes))

    async def check(self) -> StoreFailure | None:
        for table in ("mark", "attempt", "intent", "hourly", "hourly_tag", "total", "document", "audit"):
            # Every value is unpacked, so that a broken page is found.
            found = await self._read(f"select count(length(it::text)) from {table} it", ())
            if isinstance(found, StoreFailure):
                return found
        return None

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CONNECT_S)
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_S)
        except (TimeoutError, OSError):
            self._pool.terminate()

    async def _vacuum(self) -> StoreFailure | None:
        """Room of removed rows may be used again; the server does it by itself too, some time."""

        async def vacuum(db: Connection) -> None:
            await db.execute("vacuum attempt")

        return await self._guarded(lambda: self._with(vacuum))

    async def _with(self, job: Job[T]) -> T:
        async with self._pool.acquire() as db:
            return await job(db)

    async def _write(self, job: Job[T], *, fenced: bool = True) -> T | StoreFailure:
        """In its turn and its transaction. A caller who goes away does not undo it."""
        epoch = self._epoch

        async def guarded(db: Connection) -> T:
            async with db.transaction():
                if fenced:
                    current, owner = await db.fetchrow("select number, word from mark where name = 'epoch' for share")
                    if current != epoch or not epoch:
                        raise _Fenced(f"{owner or 'nobody'} owns it now" if epoch else "acquire it first, then write")
                return await job(db)

        async def turn() -> T | StoreFailure:
            async with self._turn:
                return await self._guarded(lambda: self._with(guarded))

        task = asyncio.create_task(turn())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]] | StoreFailure:
        async def read() -> list[tuple[Any, ...]]:
            return [tuple(found) for found in await self._pool.fetch(numbered(sql), *values)]

        return await self._guarded(read)

    async def _guarded(self, call: Callable[[], Awaitable[T]]) -> T | StoreFailure:
        try:
            return await call()
        except _Fenced as error:
            return StoreFailure(kind=Trouble.FENCED, detail=str(error))
        except _Newer as error:
            return StoreFailure(kind=Trouble.NEWER, detail=str(error))
        except Exception as error:  # sorted by its type; a bug is raised again
            failure = failure_of(error, self._where)
            if failure.kind is Trouble.UNREACHABLE:
                # Where one line is broken the others are seldom whole: the next call dials anew.
                await self._pool.expire_connections()
            return failure


Connection = Any
"""asyncpg's, or its pool's stand-in for one."""

Job = Callable[[Connection], Awaitable[T]]

_CLASS = {
    "08": Trouble.UNREACHABLE,
    "25": Trouble.UNREACHABLE,
    "28": Trouble.UNREACHABLE,
    "3D": Trouble.UNREACHABLE,
    "57": Trouble.UNREACHABLE,
    "58": Trouble.UNREACHABLE,
    "40": Trouble.LOCKED,
    "23": Trouble.INVALID,
    "22": Trouble.INVALID,
    "XX": Trouble.CORRUPT,
    "53": Trouble.UNREACHABLE,
}
_STATE = {
    "53100": Trouble.FULL,
    "25006": Trouble.READ_ONLY,
    "42501": Trouble.READ_ONLY,
    # Its tables are gone.
    "42P01": Trouble.CORRUPT,
    "55P03": Trouble.LOCKED,
    "57014": Trouble.LOCKED,
}
_DETAIL = {
    Trouble.FULL: "the server's disk is full; make room, or lower the ledger's retention",
    Trouble.READ_ONLY: "it may not be written; name the primary, and give its role the right to write the schema",
    Trouble.LOCKED: "somebody else holds it; see pg_stat_activity",
    Trouble.CORRUPT: "the server found broken data; restore a backup",
    Trouble.UNREACHABLE: "the server did not answer, or let nobody in; see its address, role and password",
    Trouble.INVALID: "it breaks a rule of the table",
}


def failure_of(error: BaseException, where: str) -> StoreFailure:
    """What an error means, by its type and SQLSTATE alone. Raises what is no trouble of a store's, but a bug."""
    import asyncpg

    if isinstance(error, asyncpg.PostgresError):
        state = getattr(error, "sqlstate", None) or ""
        kind = _STATE.get(state) or _CLASS.get(state[:2])
        if kind is None:
            raise error
    # asyncpg loses count where a line drops in the middle, and says so as an error of its own.
    elif isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        kind = Trouble.UNREACHABLE
    else:
        raise error
    return StoreFailure(kind=kind, detail=f"{where}: {_DETAIL[kind]} ({type(error).__name__}: {error})")


def _shown(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'the local server'}{f':{parts.port}' if parts.port else ''}{parts.path}"


async def _migrate(pool: asyncpg.Pool, schema: str, upto: int = migrations.NEWEST) -> None:
    async with pool.acquire() as db, db.transaction():
        # Two who open a new database at once: the second one waits, and finds it made.
        await db.execute("select pg_advisory_xact_lock(hashtext($1))", f"raygate {schema}")
        if not await db.fetchval("select 1 from pg_namespace where nspname = $1", schema):
            await db.execute(f'create schema "{schema}"')
        await db.execute("create table if not exists schema_version (version bigint not null)")
        version = await db.fetchval("select max(version) from schema_version") or 0
        if version > migrations.NEWEST:
            raise _Newer(migrations.newer(version))
        for statement in migrations.steps(migrations.POSTGRES, version, upto):
            await db.execute(statement)
        if version < upto:
            await db.execute("insert into schema_version values ($1)", upto)


async def _append(db: Connection, rows: Sequence[Row]) -> Appended:
    flats = flat_rows(rows)
    folded_ms: int = await db.fetchval("select number from mark where name = 'folded_ms'")
    await _end_intents(db, [row.intent.attempt for row in rows])
    if all(values[1] >= folded_ms for values in flats):
        # Nearly always nothing is there yet: try that first, and look only where it was wrong.
        fresh = db.transaction()
        await fresh.start()
        if await _insert_rows(db, flats) == len(flats):
            await fresh.commit()
            await _add(db, Sorted(flats, [], [], Appended()))
            return all_new(rows, flats)
        await fresh.rollback()
    there = await db.fetch(
        f"select {statements.ROW} from attempt where attempt = any($1)", [values[0] for values in flats]
    )
    sorted_out = sort_out(rows, {values[0]: tuple(values) for values in there}, folded_ms)
    await _insert_rows(db, sorted_out.new)
    await db.executemany(numbered(statements.CORRECT), [(*values, values[0]) for values in sorted_out.corrected])
    await _add(db, sorted_out)
    return sorted_out.appended


async def _insert_rows(db: Connection, flats: Sequence[Flat]) -> int:
    """By COPY, which is faster than any insert, but knows no conflicts: so into a table of this transaction first."""
    if not flats:
        return 0
    await db.execute(f"create temp table incoming on commit drop as select {statements.ROW} from attempt with no data")
    await db.copy_records_to_table("incoming", records=flats, columns=COLUMNS)
    said: str = await db.execute(
        f"insert into attempt ({statements.ROW}) select {statements.ROW} from incoming on conflict do nothing"
    )
    await db.execute("drop table incoming")
    return int(said.rsplit(" ", 1)[-1])


async def _insert(db: Connection, insert: Insert, rows: Sequence[tuple[Any, ...]]) -> None:
    await db.executemany(numbered(insert.of(1)), rows)


async def _add(db: Connection, sorted_out: Sorted) -> None:
    sums = tally([*sorted_out.new, *sorted_out.corrected], sorted_out.taken)
    for insert, counts in (
        (statements.ADD_HOURLY, sums.hourly),
        (statements.ADD_TAGGED, sums.tagged),
        (statements.ADD_TOTAL, sums.totals),
    ):
        additions: Mapping[Any, tuple[int, ...]] = counts
        await _insert(db, insert, [(*place, *each) for place, each in additions.items()])


async def _end_intents(db: Connection, attempts: Sequence[str]) -> None:
    await db.execute("delete from intent where attempt = any($1)", attempts)

"""The thread that writes to SQLite, what it opens, and how many calls become one transaction.

    append ─┐                    ┌─ savepoint, job, release
    change ─┼─► queue ─► begin ──┼─ savepoint, job, release      all that waits goes into one transaction,
    fold   ─┘                    └─ savepoint, job, rollback     and each caller hears after its commit
                                 commit

A call that breaks a rule is undone alone; a full disk and the like undo them all.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from runtime.ledger.store import migrations
from runtime.ledger.store.base import StoreFailure, Trouble
from runtime.ledger.store.sqlite_errors import failure_of

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], T]

PATIENCE_S = 5.0
"""How long another process may hold the ledger before it is LOCKED."""

TOGETHER = 64
"""Jobs of one transaction, at most."""

CLOSED = StoreFailure(kind=Trouble.UNREACHABLE, detail="it was closed")


class Fenced(Exception):
    """Somebody else has acquired the ledger. Never leaves this module but as a failure."""


def connect(path: Path) -> sqlite3.Connection:
    """Transactions are begun by hand. Closed by whoever closes the store, which is another thread."""
    return sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)


class Writer:
    """The thread that writes. `ready` is None once the file is open, or says why it is not."""

    def __init__(self, path: Path, *, synchronous: str, max_pages: int | None) -> None:
        self.ready: Future[StoreFailure | None] = Future()
        self._path = path
        self._synchronous = synchronous
        self._max_pages = max_pages
        self._closing = threading.Lock()
        self._closed = False
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="ledger-writer", daemon=True)
        self._thread.start()

    async def submit(self, job: Job[T]) -> T | StoreFailure:
        """What the job returned, once it is committed. A caller who goes away does not undo it."""
        done: Future[T | StoreFailure] = Future()
        with self._closing:
            if self._closed:
                return CLOSED
            self._jobs.put((job, done))
        return await asyncio.shield(asyncio.wrap_future(done))

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """After all that was submitted is done."""
        self._jobs.put(None)
        self._thread.join()

    def _live(self) -> None:
        try:
            db = self._open()
        except (sqlite3.Error, OSError, Refused) as error:
            self._end()
            self.ready.set_result(error.failure if isinstance(error, Refused) else failure_of(error, self._path))
            return
        self.ready.set_result(None)
        while (first := self._jobs.get()) is not None:
            jobs, last = self._waiting(first)
            self._commit(db, jobs)
            if last:
                break
        self._end()
        with suppress(sqlite3.Error):
            db.close()

    def _end(self) -> None:
        """Whoever still waits hears of it, and nobody waits after that."""
        with self._closing:
            self._closed = True
        while not self._jobs.empty():
            if (left := self._jobs.get_nowait()) is not None:
                left[1].set_result(CLOSED)

    def _waiting(self, first: tuple[Job[Any], Future[Any]]) -> tuple[list[tuple[Job[Any], Future[Any]]], bool]:
        jobs = [first]
        while len(jobs) < TOGETHER:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _commit(self, db: sqlite3.Connection, jobs: Sequence[tuple[Job[Any], Future[Any]]]) -> None:
        answers: list[Any] = []
        try:
            db.execute("begin immediate")
            answers.extend(self._attempted(db, job) for job, _ in jobs)
            db.execute("commit")
        except Exception as error:  # whatever it was, every caller must hear of it
            with suppress(sqlite3.Error):
                db.execute("rollback")
            # Nothing of this transaction holds, also not what went well in it.
            answers = [_told(error, self._path)] * len(jobs)
        for (_, done), answer in zip(jobs, answers, strict=True):
            if isinstance(answer, BaseException):
                done.set_exception(answer)
            else:
                done.set_result(answer)

    def _attempted(self, db: sqlite3.Connection, job: Job[Any]) -> Any:
        db.execute("savepoint job")
        try:
            answer = job(db)
        except Fenced as error:
            answer = StoreFailure(kind=Trouble.FENCED, detail=str(error))
        except sqlite3.IntegrityError as error:
            answer = failure_of(error, self._path)
        except sqlite3.ProgrammingError as error:
            answer = error
        except sqlite3.Error:
            # A full disk and the like end the whole transaction.
            raise
        except Exception as error:  # a bug in one job is that caller's alone
            answer = error
        else:
            db.execute("release job")
            return answer
        db.execute("rollback to job")
        db.execute("release job")
        return answer

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600, exist_ok=True)
        db = connect(self._path)
        try:
            # Before the first table, and before WAL: else it has no effect.
            db.execute("pragma auto_vacuum = incremental")
            db.execute("pragma journal_mode = wal")
            db.execute(f"pragma synchronous = {self._synchronous}")
            db.execute("pragma cache_size = -8192")
            db.execute("pragma wal_autocheckpoint = 4000")
            db.execute(f"pragma journal_size_limit = {64 * 2**20}")
            migrate(db)
            if self._max_pages is not None:
                db.execute(f"pragma max_page_count = {self._max_pages}")
        except BaseException:
            db.close()
            raise
        return db


def _told(error: Exception, path: Path) -> StoreFailure | Exception:
    try:
        return failure_of(error, path)
    except Exception as bug:  # the callers' to raise, not this thread's
        return bug


class Refused(Exception):
    """The file is not one that we may open."""

    def __init__(self, failure: StoreFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def migrate(db: sqlite3.Connection, upto: int = migrations.NEWEST) -> None:
    """Raises `Refused` where it is newer than we know. Two who open it at once wait for each other."""
    db.execute("begin immediate")
    try:
        version: int = db.execute("pragma user_version").fetchone()[0]
        if version > migrations.NEWEST:
            raise Refused(StoreFailure(kind=Trouble.NEWER, detail=migrations.newer(version)))  # noqa: TRY301
        for statement in migrations.steps(migrations.SQLITE, version, upto):
            db.execute(statement)
        if version < upto:
            db.execute(f"pragma user_version = {upto}")
        db.execute("commit")
    except BaseException:
        db.execute("rollback")
        raise

"""The books of a process: its journal on disk, and the loops that carry what is in it to the ledger.

    provider ── open, settle ─► Journal (a file, at once)      every 50 ms: fdatasync, in a thread
                                 └► Outbox (memory, bounded)   every second: ship(Batch) ─► its segment may go
    journals of the dead (flock)                               every 10 s: ship(Batch) … ship(last) ─► they are gone

`ship` is given: it returns once the ledger has a batch for good, and raises whatever keeps it from that. It may be
given the same batch, or a row that the ledger has, again. A ledger that is away costs nothing but disk with
`durability: process`; with `cluster` attempts wait for its word, and `on_error` says what becomes of those that wait
in vain.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from actors.clock import SENSES
from runtime.entrance import Senses
from runtime.ledger.folder import Abandoned, Journal, abandoned, sync
from runtime.ledger.outbox import Outbox
from runtime.ledger.rows import Batch, Intent, Row, Settlement
from runtime.values import maker

new_row = maker(Row)

log = logging.getLogger("raygate.books")

Ship = Callable[[Batch], Awaitable[None]]

SHIP_S, SYNC_S, COLLECT_S = 1.0, 0.05, 10.0
OPEN_MS = 1_000
"""For so long an attempt is under way before the ledger is told of it."""
MOST_ROWS = 1_000
"""In one batch."""
RETRY_S, LONGEST_RETRY_S = 0.5, 10.0
"""A ledger that is away is tried again after `RETRY_S`, doubled up to this, with jitter."""
SHIPPED_S = 30.0
ACKNOWLEDGED_S = 5.0
"""How long a batch may take, and how long an attempt waits for the ledger's word."""
LAST_WORD_S = 2.0


@dataclass(frozen=True, slots=True)
class BooksPolicy:
    """As in `runtime.settings.LedgerSettings`."""

    durability: Literal["process", "cluster"] = "process"
    on_error: Literal["refuse", "serve"] = "refuse"


class ProcessBooks:
    """`runtime.ledger.books.Books` of one process. Belongs to one event loop.

    `start` begins the loops; before it, and after `stop`, everything is written and nothing is shipped. `stop` ships
    what it can within two seconds and lets go of the journal: what is left, the next collector finds. `collects`: this
    process also looks after the journals of dead processes in the same folder. `policy` may be replaced at any time.

    `writer` names this process's journal, and is the first part of all its attempts. `counters` are for metrics:
    `unwritten` attempts and settlements that the disk has refused, `unacknowledged` ones that waited in vain for
    the ledger, `collected` rows of the dead, `lost` rows that found room neither on disk nor in memory.
    """

    def __init__(
        self,
        folder: Path,
        ship: Ship,
        *,
        policy: BooksPolicy = BooksPolicy(),
        collects: bool = True,
        senses: Senses = SENSES,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        writer: str = "",
        most_kept: int | None = None,
    ) -> None:
        self.policy = policy
        self.writer = writer or secrets.token_hex(6)
        self.counters = {"unwritten": 0, "unacknowledged": 0, "collected": 0, "lost": 0, "unread_bytes": 0}
        self._ship = ship
        self._folder = folder
        self._collects = collects
        self._senses = senses
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._journal = Journal(folder, self.writer)
        self._outbox = Outbox() if most_kept is None else Outbox(most_kept)
        self._number = 0
        self._oldest = 1
        self._told: set[str] = set()
        self._void: list[str] = []
        self._new: dict[str, Intent] = {}
        self._owed_intents: dict[str, asyncio.Future[None]] = {}
        self._owed_rows: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._shipping = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._refusing = False

    # What attempts do.

    @property
    def waits(self) -> bool:
        return self.policy.durability == "cluster"

    @property
    def under_way(self) -> int:
        return len(self._journal.open)

    @property
    def unshipped(self) -> int:
        """Rows in memory that the ledger has not acknowledged; more may lie in the journal."""
        return len(self._outbox)

    def now_ms(self) -> int:
        return int(self._senses.wall() * 1_000.0)

    def new_attempt(self) -> str:
        self._number += 1
        return f"{self.writer}-{self._number}"

    def open(self, intent: Intent) -> str:
        failed = self._journal.intend(intent)
        self._dirty.set()
        if failed is not None:
            self._refused(str(failed))
            if self.policy.on_error == "refuse":
                self._journal.forget(intent.attempt)
                return f"{failed}; make room, or let it go on without (ledger.on_error: serve)"
        else:
            self._refusing = False
        if self.waits:
            self._new[intent.attempt] = intent
            self._owed_intents[intent.attempt] = asyncio.get_running_loop().create_future()
            self._wake.set()
        return ""

    def settle(self, settlement: Settlement) -> None:
        attempt = settlement.attempt
        intent = self._journal.open.get(attempt)
        if intent is None:
            return
        failed = self._journal.settle(settlement)
        if not self._dirty.is_set():
            self._dirty.set()
        if self._new:
            self._new.pop(attempt, None)
        if settlement.unsent:
            self._owed_intents.pop(attempt, None)
            if attempt in self._told:
                self._told.discard(attempt)
                self._void.append(attempt)
            return
        if self._told:
            self._told.discard(attempt)
        if failed is not None:
            self._refused(str(failed))
        self._post(new_row(intent=intent, settlement=settlement), written=failed is None)

    def enter(self, row: Row) -> None:
        failed = self._journal.enter(row)
        self._dirty.set()
        if failed is not None:
            self._refused(str(failed))
        self._post(row, written=failed is None)

    async def acknowledged(self, attempt: str) -> str:
        owed = self._owed_rows.get(attempt) or self._owed_intents.get(attempt)
        if owed is None:
            return ""
        self._wake.set()
        await asyncio.wait((owed,), timeout=ACKNOWLEDGED_S)
        if owed.done():
            return ""
        self.counters["unacknowledged"] += 1
        if self.policy.on_error == "serve":
            return ""
        return "the ledger did not acknowledge it in time (ledger.durability: cluster)"

    def _post(self, row: Row, *, written: bool) -> None:
        outbox = self._outbox
        if written:
            outbox.add(row, self._journal.segment, self._journal.last)
        else:
            outbox.add(row, None, self._journal.last)
            self.counters["lost"] = outbox.given_up
        if self.waits:
            self._owed_rows[row.intent.attempt] = asyncio.get_running_loop().create_future()
            self._wake.set()
        if outbox.is_full and self._journal.rotate() is None:
            self._outbox.spill(self._journal.segment)

    def _refused(self, why: str) -> None:
        self.counters["unwritten"] += 1
        if not self._refusing:
            self._refusing = True
            log.error("journal.refused", extra={"why": why, "then": self.policy.on_error})

    # What the loops do.

    def start(self) -> None:
        loops = [self._shipper(), self._syncer(), *([self._collector()] if self._collects else [])]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        whole = False
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self.ship_all()
                if whole := self._outbox.empty and not self._journal.open:
                    await self._ship(Batch(writer=self.writer, last=True))
        except Exception as error:  # what is left lies in the journal, and whoever collects finds it
            log.warning("journal.left", extra={"why": str(error) or type(error).__name__})
            whole = False
        self._journal.close(remove=whole)

    async def ship_all(self) -> None:
        """Until the ledger has everything that there was. Raises what `ship` raises, and then nothing is forgotten."""
        async with self._shipping:
            while batch := self._batch():
                try:
                    async with asyncio.timeout(SHIPPED_S):
                        await self._ship(batch)
                except BaseException:
                    self._outbox.unsent()
                    self._void[:0] = batch.void
                    self._new.update({one.attempt: one for one in batch.open if one.attempt in self._journal.open})
                    raise
                self._outbox.sent()
                self._acknowledge(batch)
                self._tidy()
            while (segment := self._outbox.spilled) is not None:
                rows = await asyncio.to_thread(self._journal.read_segment, segment)
                await self._ship_rows(self.writer, rows)
                self._outbox.read_again(segment)
                self._tidy()
            self._tidy()

    async def collect(self) -> None:
        """Bring in the journals of the dead. Raises what `ship` raises; what was not brought in stays where it is."""
        found = abandoned(self._folder)
        try:
            while (one := await asyncio.to_thread(next, found, None)) is not None:
                await self._bring_in(one)
        finally:
            await asyncio.to_thread(found.close)

    async def _bring_in(self, one: Abandoned) -> None:
        count = 0
        some = one.rows()
        while (rows := await asyncio.to_thread(next, some, None)) is not None:
            await self._ship_rows(one.writer, rows)
            count += len(rows)
        await self._ship(Batch(writer=one.writer, last=True))
        await asyncio.to_thread(one.done)
        self.counters["collected"] += count
        self.counters["unread_bytes"] += one.unread
        log.info("journal.collected", extra={"writer": one.writer, "rows": count, "unread_bytes": one.unread})

    async def _ship_rows(self, writer: str, rows: list[Row]) -> None:
        for at in range(0, len(rows), MOST_ROWS):
            async with asyncio.timeout(SHIPPED_S):
                await self._ship(Batch(writer=writer, rows=tuple(rows[at : at + MOST_ROWS])))

    def _batch(self) -> Batch | None:
        """What the ledger is to be told next; None if nothing."""
        rows = self._outbox.take(MOST_ROWS)
        late_ms = self.now_ms() - OPEN_MS
        for attempt, intent in self._journal.open.items():
            if intent.at_ms > late_ms:
                break
            if attempt not in self._told:
                self._new.setdefault(attempt, intent)
        opened = tuple(islice(self._new.values(), MOST_ROWS))
        for intent in opened:
            del self._new[intent.attempt]
        self._told.update(intent.attempt for intent in opened)
        void, self._void = tuple(self._void), []
        if not rows and not opened and not void:
            return None
        return Batch(writer=self.writer, rows=rows, open=opened, void=void)

    def _acknowledge(self, batch: Batch) -> None:
        for row in batch.rows:
            self._owed_intents.pop(row.intent.attempt, None)
            if (owed := self._owed_rows.pop(row.intent.attempt, None)) is not None and not owed.done():
                owed.set_result(None)
        for intent in batch.open:
            if (owed := self._owed_intents.pop(intent.attempt, None)) is not None and not owed.done():
                owed.set_result(None)

    def _tidy(self) -> None:
        """Remove the segments that the ledger has, from the oldest on."""
        while self._oldest < self._journal.segment and self._outbox.is_done(self._oldest):
            self._journal.remove(self._oldest)
            self._oldest += 1

    async def _shipper(self) -> None:
        wait_s = RETRY_S
        while True:
            try:
                async with asyncio.timeout(SHIP_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.ship_all()
                wait_s = RETRY_S
            except Exception as error:  # whatever it is, what was not shipped stays in the journal
                log.warning("ledger.away", extra={"why": str(error) or type(error).__name__, "again_in_s": wait_s})
                await self._sleep(wait_s * self._rng.uniform(0.5, 1.5))
                wait_s = min(LONGEST_RETRY_S, wait_s * 2.0)

    async def _syncer(self) -> None:
        while True:
            await self._dirty.wait()
            await self._sleep(SYNC_S)
            self._dirty.clear()
            try:
                failed = await asyncio.to_thread(sync, self._journal.unsynced())
                if failed is not None:
                    log.error("journal.unsynced", extra={"why": str(failed)})
                    self._journal.rotate()
            except Exception as error:  # too many open files, say; it is tried again with the next record
                log.warning("journal.unsynced", extra={"why": str(error)})

    async def _collector(self) -> None:
        while True:
            try:
                await self.collect()
            except Exception as error:  # the dead can wait
                log.warning("journal.not_collected", extra={"why": str(error) or type(error).__name__})
            await self._sleep(COLLECT_S * self._rng.uniform(0.75, 1.25))

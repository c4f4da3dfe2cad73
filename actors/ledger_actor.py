"""The ledger: whose key it is, what may still be spent, and a row for every attempt. One for the whole cluster.

It opens its store when it is first asked, and again where that failed: a full disk is emptied, a database comes back.
Everything that decides is `runtime.ledger.ledger`; here are its clock, its disk and its loops:

    at a start        journals of the dead are brought in; until every edge that lives has been heard, nothing is lent
    every second      budgets begin anew, and warn
    every ten         the dead are looked for again; what those have open that nobody hears any more is charged
    every hour        old rows are folded away
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import psutil
from ray.exceptions import RayTaskError

from actors import logs
from actors.alerts import Alerts
from actors.books import ProcessBooks
from actors.clock import SENSES
from actors.environment import environment, node_id
from actors.keys import write_once
from actors.names import JOURNALS, LEDGER, MANAGER
from actors.refs import ActorRef, ManagerRef, Unreachable, last_line
from actors.ruvector_ref import RuVectorRef
from actors.store import Store as Kept
from runtime.catalog import Catalog
from runtime.feed import AccountsNews, EdgeReport
from runtime.learning.values import NOBODYS
from runtime.ledger.accounts import Pass
from runtime.ledger.book import Notice
from runtime.ledger.desk import unkept
from runtime.ledger.folder import writers
from runtime.ledger.journal import unpack
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.ledger import CHANGES, Ledger
from runtime.ledger.rows import Batch
from runtime.ledger.store import open_store
from runtime.ledger.store.base import Retention, Store, StoreFailure, Trouble
from runtime.ledger.store.sqlite import SqliteStore
from runtime.models import Pricing
from runtime.outcome import Failure
from runtime.request import Json
from runtime.settings import BadSettings, LedgerSettings, Settings, resolve_secret
from runtime.telling import budget_event
from runtime.transport.webhook import post
from runtime.values import replace

log = logging.getLogger("raygate.ledger")

DATABASE = "ledger.db"
CLUSTER = "cluster"
AGAIN_S = 2.0
"""How soon a store that could not be opened is tried again."""
TICK_S, FOLD_S = 1.0, 3_600.0
HOURLY_DAYS = 400
"""Sums of older hours become sums of days: the ledger would grow for ever."""
HEAR_S, HEARD_S, COLLECT_S = 0.25, 2.0, 10.0
LEASES_END_S = 30.0
"""Long after the leases of an owner that has died have ended by themselves."""
REPLACED = StoreFailure(kind=Trouble.FENCED, detail="another cluster has taken it over")


class LedgerActor:
    """Undecorated: the supervisor makes a Ray actor of it. `folder` is the state folder of this node."""

    CONTROL_METHODS = ()

    def __init__(self, folder: str) -> None:
        logs.begin(LEDGER, environment())
        self._folder = Path(folder)
        self._ledger: Ledger | None = None
        self._former: Ledger | None = None
        self._opening: asyncio.Task[Ledger | StoreFailure] | None = None
        self._failed: tuple[StoreFailure, float] | None = None
        self._replaced = False
        self._loops: set[asyncio.Task[None]] = set()
        self._learned = RuVectorRef(makes=False)
        self._manager = ManagerRef()
        self._alerts: Alerts | None = None

    async def present(self, shown: str) -> Pass | Failure:
        # Whose a key is can be read by anybody, and nobody is to wait until the ledger has changed hands.
        ledger = await self._owning(takes_over=False)
        if not isinstance(ledger, StoreFailure):
            return ledger.present(shown)
        return unkept(ledger) if self._former is None else await self._former.look_up(shown)

    async def news(self, known: tuple[int, int], wait_s: float) -> AccountsNews | None:
        """What edges must know of the accounts, once that is newer than `known`; None if it is not so in time."""
        ledger = await self._ready(takes_over=False)
        if isinstance(ledger, StoreFailure):
            await asyncio.sleep(min(wait_s, AGAIN_S))
            return None
        return await ledger.news(known, wait_s)

    async def hello(self, edge: str) -> None:
        ledger = await self._ready(takes_over=False)
        if not isinstance(ledger, StoreFailure):
            ledger.hello(edge)

    async def exchange(self, claims: Claims) -> Grants | StoreFailure:
        # What an idle edge has to say of its leases is no reason to take the ledger from a cluster that is in use.
        ledger = await self._owning(takes_over=any(one.need or one.want for one in claims.claims))
        return ledger if isinstance(ledger, StoreFailure) else ledger.exchange(claims)

    async def ship(self, batch: Batch, rows: bytes = b"[]") -> StoreFailure | None:
        """None once it is kept for good, with these rows of it, which are packed."""
        batch = replace(batch, rows=batch.rows + unpack(rows))
        ledger = await self._ready()
        if isinstance(ledger, StoreFailure):
            return ledger
        failed = await ledger.ship(batch)
        if failed is not None:
            log.warning("ledger.not_kept", extra={"why": str(failed)})
        if failed is not None and failed.kind is Trouble.FENCED:
            # Another one has taken over. Who has need of this one makes it the owner again, with all that is kept.
            await self._leave(ledger)
        return failed

    async def ask(self, what: str, args: Sequence[Json], named: Mapping[str, Json], who: str) -> Json | Failure:
        """What an admin asks; `who` is the id of his key."""
        ledger = await (self._owning() if what in CHANGES else self._ready())
        return unkept(ledger) if isinstance(ledger, StoreFailure) else await ledger.ask(what, *args, who=who, **named)

    async def export(self, to: str, last: str, only: Mapping[str, str]) -> AsyncGenerator[bytes | Failure]:
        """All rows as a file, a piece at a time; a failure is the last item."""
        ledger = await self._ready()
        if isinstance(ledger, StoreFailure):
            yield unkept(ledger)
            return
        async with aclosing(ledger.export(to, last, only)) as pieces:
            async for piece in pieces:
                yield piece

    async def whereabouts(self) -> tuple[str, int]:
        """The node and the process id of this actor."""
        return node_id(), os.getpid()

    async def _ready(self, *, takes_over: bool = True) -> Ledger | StoreFailure:
        """The ledger, opened where it is not. One that another cluster has replaced stays so unless `takes_over`."""
        if self._ledger is not None:
            return self._ledger
        if self._replaced and not takes_over:
            return REPLACED
        if self._failed is not None and SENSES.clock() < self._failed[1]:
            return self._failed[0]
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _owning(self, *, takes_over: bool = True) -> Ledger | StoreFailure:
        """The same, for what the owner alone may say."""
        ledger = await self._ready(takes_over=takes_over)
        if not isinstance(ledger, StoreFailure) and await ledger.is_replaced():
            log.warning("ledger.was_replaced")
            await self._leave(ledger)
            ledger = await self._ready(takes_over=takes_over)
        return ledger

    async def _open(self) -> Ledger | StoreFailure:
        # Prices as they were when this process began: what a running attempt costs, edges know.
        settings = Settings.from_document(Kept(self._folder).settings()[1])
        catalog = Catalog(settings)
        store = await self._store(settings.ledger)
        opened = (
            store
            if isinstance(store, StoreFailure)
            else await Ledger.open(
                store,
                f"{node_id()[:8]}:{os.getpid()}",
                wall=SENSES.wall,
                chance=secrets.token_bytes,
                prices=lambda name: _price(catalog, name),
                quality=self._quality if settings.learning.enabled else None,
                cluster=await asyncio.to_thread(self._cluster),
            )
        )
        if isinstance(opened, StoreFailure):
            log.error("ledger.unusable", extra={"why": str(opened), "again_in_s": AGAIN_S})
            self._failed = (opened, SENSES.clock() + AGAIN_S)
            return opened
        self._ledger, self._failed, self._replaced = opened, None, False
        former, self._former = self._former, None
        if former is not None:
            await former.close()
        self._alerting().resume()
        for loop in (self._bring_in(opened), self._tick(opened, settings.ledger)):
            self._keep(loop)
        return opened

    def _cluster(self) -> str:
        """A name of this state folder, the same for ever: a store that other clusters open, too, tells them apart."""
        path = self._folder / CLUSTER
        write_once(path, secrets.token_hex(8))
        return path.read_text().strip()

    async def _quality(self, org: str) -> Mapping[str, float]:
        """What was learned of models, as far as its owner is there to say so."""
        known = await self._learned.summary(org or NOBODYS)
        return {} if isinstance(known, Failure) else {name: mean for name, (mean, _) in known.quality.items()}

    async def _store(self, ours: LedgerSettings) -> Store | StoreFailure:
        try:
            url = resolve_secret(ours.url, environment())
        except BadSettings as error:
            return StoreFailure(kind=Trouble.UNREACHABLE, detail=str(error))
        if url is not None:
            return await open_store(url)
        return await SqliteStore.open(self._folder / DATABASE, synchronous=ours.synchronous)

    async def _leave(self, ledger: Ledger) -> None:
        """It may still be read. Nothing happens where somebody has left this one already."""
        if ledger is self._ledger:
            self._ledger, self._former, self._replaced = None, ledger, True
            for task in self._loops:
                task.cancel()

    def _alerting(self) -> Alerts:
        if self._alerts is None:
            self._alerts = Alerts(
                self._folder,
                lambda: Settings.from_document(Kept(self._folder).settings()[1]).alerts,
                environment(),
                post=post,
                wall=SENSES.wall,
                rng=random.Random(),
            )
        return self._alerts

    async def _tell(self, notice: Notice) -> None:
        """Webhooks are told of a budget, and whoever listens, if the manager is there."""
        self._alerting().tell(notice)
        event = budget_event(notice, at_s=SENSES.wall(), source=LEDGER)
        with suppress(Unreachable, RayTaskError):
            await self._manager.tell_events((event,))

    def _keep(self, loop: Coroutine[Any, Any, None]) -> None:
        """Run it in the background; asyncio itself would forget it."""
        task = asyncio.create_task(loop)
        self._loops.add(task)
        task.add_done_callback(self._loops.discard)

    async def _bring_in(self, ledger: Ledger) -> None:
        """The journals of the dead; and, at first, word from all that live, so that lending can begin."""
        books = ProcessBooks(self._folder / JOURNALS, lambda batch: _shipped(ledger, batch))
        manager = ActorRef(MANAGER)
        waits_until = SENSES.clock() + LEASES_END_S
        while True:
            try:
                if SENSES.clock() < waits_until:
                    said = await manager.call("overview", timeout_s=HEARD_S)
                    living = living_edges(said["edges"], node_id(), psutil.pid_exists)
                    # Whoever dies from here on is brought in the next time.
                    await books.collect()
                    # Of those that are left, one may be known to no manager that has just started itself.
                    if ledger.ready(living | writers(self._folder / JOURNALS)):
                        log.info("ledger.lends", extra={"edges": len(living)})
                        waits_until = 0.0
                else:
                    await books.collect()
                    await self._give_up(ledger, manager)
            except Exception as error:  # a manager that is away, a disk that is full: it is tried again
                log.warning("ledger.waits", extra={"why": last_line(error)})
            await asyncio.sleep(HEAR_S if SENSES.clock() < waits_until else COLLECT_S)

    async def _give_up(self, ledger: Ledger, manager: ActorRef) -> None:
        """Raises `Unreachable` where the manager, who hears all edges, is away."""
        said = await manager.call("overview", timeout_s=HEARD_S)
        living = living_edges(said["edges"], node_id(), psutil.pid_exists)
        failed = await ledger.give_up(living | writers(self._folder / JOURNALS))
        if failed is not None:
            log.warning("ledger.not_given_up", extra={"why": str(failed)})

    async def _tick(self, ledger: Ledger, ours: LedgerSettings) -> None:
        most = None if ours.max_mb is None else ours.max_mb * 2**20
        retention = Retention(days=ours.keep_days, hourly_days=HOURLY_DAYS, max_bytes=most)
        fold_at = SENSES.clock() + FOLD_S
        while True:
            await asyncio.sleep(TICK_S)
            try:
                for notice in await ledger.tick():
                    self._keep(self._tell(notice))
                if SENSES.clock() >= fold_at:
                    fold_at = SENSES.clock() + FOLD_S
                    await ledger.fold(retention)
            except Exception:  # whatever it is, the next second comes
                log.exception("ledger.tick_failed")


def living_edges(edges: Mapping[str, EdgeReport | None], node: str, runs: Callable[[int], bool]) -> set[str]:
    """By what they are called in journals and leases. A manager remembers those that have died for a while; those of
    this node can be seen to be gone."""
    return {
        name.rpartition(":")[2] for name, said in edges.items() if said is None or said.node != node or runs(said.pid)
    }


async def _shipped(ledger: Ledger, batch: Batch) -> None:
    failed = await ledger.ship(batch)
    if failed is not None:
        raise Unreachable(str(failed))


def _price(catalog: Catalog, name: str) -> Pricing | None:
    provider, _, model = name.partition("/")
    info = catalog.info(provider, model)
    return info.pricing if info else None
